"""How much accuracy each site costs, pooled alone (the paper's Algorithm 1, lines 7 to 11).

Beside it the *recoverable drop*: the loss once the layers behind the site are reconstructed.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from torch import nn

from virtualpool.apply import apply
from virtualpool.documents import read_document, write_document
from virtualpool.errors import VirtualPoolError
from virtualpool.files import naming
from virtualpool.fingerprint import fingerprint, name_of
from virtualpool.graph.random_numbers import seeded
from virtualpool.measure.score import Evaluate, Score, judge
from virtualpool.observer import Observer, unobserved
from virtualpool.plan import Border, known_border
from virtualpool.processes import agreed, is_main
from virtualpool.progress import shows_progress
from virtualpool.recover.batches import check_repeatable
from virtualpool.recover.reconstruction import reconstruct
from virtualpool.schema import Count, Finite, NotNegative, converted, parsed
from virtualpool.sites import Site, check_eligible, named, sites
from virtualpool.words import some

Recalibrate = Callable[[nn.Module], object]


@dataclass(frozen=True)
class SiteSensitivity:
    """The cost of pooling one site alone.

    Attributes:
        name: the site.
        score: the score of the model with this site pooled.
        drop: how much lower that is than the unmodified model's score.
        standard_error: the drop's standard error (paired where each sample's score is known), or
            None.
        before_pool: whether a pooling layer comes next.
        macs: multiply-accumulates of the site's convolution per image, before pooling.
        recoverable_score: the score of the model with the layers behind this site reconstructed,
            or None where that was not asked for.
        recoverable_drop: how much lower that is than the unmodified model's score.
        recoverable_standard_error: the standard error of the recoverable drop.
    """

    name: str
    score: Score
    drop: Finite
    standard_error: NotNegative | None
    before_pool: bool
    macs: Count
    recoverable_score: Score | None = None
    recoverable_drop: Finite | None = None
    recoverable_standard_error: NotNegative | None = None

    @property
    def cost(self) -> float:
        """The number that ranks: the recoverable drop where it is known, else the drop."""
        return self.drop if self.recoverable_drop is None else self.recoverable_drop

    @property
    def cost_error(self) -> float | None:
        """The standard error of the cost."""
        if self.recoverable_drop is None:
            return self.standard_error
        return self.recoverable_standard_error

    def to_json(self) -> dict[str, Any]:
        """A JSON-able value."""
        scores = {"score": self.score, "recoverable_score": self.recoverable_score}
        # A score of 0 is one, though it is false.
        known = {name: it.to_json() for name, it in scores.items() if it is not None}
        return asdict(self) | known

    @classmethod
    def from_json(cls, value: Any) -> "SiteSensitivity":
        """The sensitivity of a JSON value."""
        value = parsed(value, score=Score.from_json, recoverable_score=Score.from_json)
        return converted(value, cls, "the sensitivity of a site")


@dataclass(frozen=True)
class Sensitivity:
    """The sites of a model, the most robust first (the paper's `ViPLayers`).

    Attributes:
        baseline: the unmodified model's score; it knows on how many samples, if its evaluation did.
        sites: by rising cost; of two with the same cost, the one with more work first.
        method: how the drops were found, for people to read.
    """

    baseline: Score
    sites: tuple[SiteSensitivity, ...]
    method: str

    @property
    def names(self) -> list[str]:
        """The sites' names, the most robust first."""
        return [site.name for site in self.sites]

    def including(self, site: SiteSensitivity) -> "Sensitivity":
        """The same with one site more, at its place."""
        ranked = sorted((*self.sites, site), key=lambda site: (site.cost, -site.macs))
        return replace(self, sites=tuple(ranked))

    def limited_to(self, names: Iterable[str]) -> "Sensitivity":
        """The same with the named sites only; a name that it does not know is refused."""
        names = list(names)
        missing = [name for name in names if name not in self.names]
        if missing:
            raise VirtualPoolError(
                f"The sensitivity does not know {some(missing)}; find it with these sites."
            )
        return replace(self, sites=tuple(site for site in self.sites if site.name in names))

    def to_json(self) -> dict[str, Any]:
        """A JSON-able value."""
        return {
            "method": self.method,
            "baseline": self.baseline.to_json(),
            "sites": [site.to_json() for site in self.sites],
        }

    @classmethod
    def from_json(cls, value: Any) -> "Sensitivity":
        """The sensitivity of a JSON value; one that is none is refused."""
        value = parsed(value, baseline=Score.from_json, sites=_sites_of)
        return converted(value, cls)


@shows_progress
def sensitivity(
    model: nn.Module,
    example_inputs: Any,
    evaluate: Evaluate,
    *,
    names: Sequence[str] | None = None,
    recalibrate: Recalibrate | None = None,
    recoverable: Iterable[Any] | None = None,
    baseline: Score | None = None,
    border: Border = "exact",
    path: Path | str | None = None,
    observer: Observer | None = None,
) -> Sensitivity:
    """Pools each site alone, without fine-tuning, and ranks the sites by the score that it costs.

    This is the paper's Algorithm 1, lines 7 to 11, and its figure 2. Every model is evaluated in
    eval mode and sees the same random numbers. With `recoverable`, each model is evaluated once
    more with the layers behind its site reconstructed, and ranked by the recoverable drop.

    >>> import torch
    >>> from virtualpool.search import output_agreement
    >>> images = torch.rand(4, 3, 16, 16)
    >>> model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.ReLU())
    >>> ranking = sensitivity(model, images, output_agreement(model, [images]))
    >>> print(ranking.baseline)
    1.0000 ± 0.0000
    >>> sorted(ranking.names)
    ['0', '2']

    Args:
        model: the trained network; it is not changed.
        example_inputs: inputs that it runs on, such as an (N, C, H, W) tensor.
        evaluate: gives a model's score, higher is better; see also `answer_agreement`.
        names: the sites to try; all eligible ones if not given.
        recalibrate: is called with each pooled model before it is evaluated, to renew the
            statistics of its batch norms, say.
        recoverable: batches of images, without labels, to reconstruct with (see
            `virtualpool.reconstruct`): a list or a `DataLoader`, of few images, for they are gone
            through for each site.
        baseline: the unmodified model's score, if it is known.
        border: what convolutions read beside recovered maps; see `virtualpool.apply`.
        path: a file that is written after each site; a second start goes on from there.
        observer: is told of progress; see `Observer`. If not given, a terminal shows it as bars.

    Returns:
        The sites, the most robust first, each with its score and its drop, in the unit of
        `evaluate`.

    Raises:
        VirtualPoolError: a name is no eligible site, a score is not finite, `path` holds the
            answer to another question, or `recoverable` can be gone through only once.
    """
    check_repeatable(recoverable)
    observer = observer or unobserved
    tried = eligible(model, example_inputs, names)
    method = "each site pooled alone, without fine-tuning"
    if known_border(border) == "padded":
        method += ", with padded borders"
    if recalibrate is not None:
        method += f", recalibrated by {name_of(recalibrate)}"
    if recoverable is not None:
        method += "; and with the layers behind it reconstructed"
    asked = {
        "model": fingerprint(model.state_dict()),
        "sites": [site.name for site in tried],
        "method": method,
    }

    def keep(result: Sensitivity) -> Sensitivity:
        if path is not None and is_main():
            write_document(path, {"asked": asked} | result.to_json())
        return result

    result = _earlier(path, asked)
    if result is None:
        if baseline is None:
            observer("original", 0, 1, "the unmodified model")
            with seeded("sensitivity"):
                baseline = judge(evaluate, model, "the unmodified model")
        result = keep(Sensitivity(baseline, (), method))
    for done, site in enumerate(tried):
        observer("sensitivity", done, len(tried), site.name)
        if site.name not in result.names:
            pooled = apply(model, example_inputs, [site.name], border=border)
            solved = None
            if recoverable is not None:
                with seeded("reconstruction"):
                    recovered = reconstruct(
                        pooled, model, recoverable, steps=0, observer=unobserved
                    )
                solved = _judged(recovered, site, evaluate)
            if recalibrate is not None:
                with seeded("sensitivity"):
                    recalibrate(pooled)
            score = _judged(pooled, site, evaluate)
            result = keep(result.including(_compared(site, result.baseline, score, solved)))
    observer("sensitivity", len(tried), len(tried), "done")
    return result


def eligible(
    model: nn.Module, example_inputs: Any, names: Sequence[str] | None = None
) -> list[Site]:
    """The sites that can be pooled, or the named ones of them, in the order of execution.

    Raises:
        VirtualPoolError: a name is no site or not eligible (with the reason), or no site is.
    """
    known = sites(model, example_inputs)
    if names is not None:
        names = [names] if isinstance(names, str) else names
        for name in names:
            check_eligible(named(name, known))
        known = [site for site in known if site.name in names]
    chosen = [site for site in known if site.eligible]
    if not chosen:
        reasons = some(sorted({str(site.reason) for site in known}), 2)
        raise VirtualPoolError(
            f"{type(model).__name__} has no site to pool: of {len(known)} convolutions none is "
            f"eligible ({reasons or 'nothing to choose from'}). virtualpool.sites(model, "
            "example_inputs) gives each reason."
        )
    return chosen


def _judged(pooled: nn.Module, site: Site, evaluate: Evaluate) -> Score:
    with seeded("sensitivity"):
        return judge(evaluate, pooled.eval(), f"the model with {site.name} pooled")


def _compared(site: Site, baseline: Score, score: Score, solved: Score | None) -> SiteSensitivity:
    drop = baseline - score
    left = None if solved is None else baseline - solved
    return SiteSensitivity(
        name=site.name,
        score=score.summary,
        drop=float(drop),
        standard_error=drop.standard_error,
        before_pool=site.before_pool,
        macs=site.macs,
        recoverable_score=None if solved is None else solved.summary,
        recoverable_drop=None if left is None else float(left),
        recoverable_standard_error=None if left is None else left.standard_error,
    )


def _sites_of(value: Any) -> list[SiteSensitivity]:
    return [SiteSensitivity.from_json(site) for site in converted(value, list[Any])]


def _earlier(path: Path | str | None, asked: dict[str, Any]) -> Sensitivity | None:
    """The ranking of an earlier start, if it was asked the same."""
    if path is None:
        return None
    value = agreed(read_document(path) if Path(path).exists() else None)
    if value is None:
        return None
    before = value.get("asked") if isinstance(value, dict) else None
    if before != asked:
        known = before if isinstance(before, dict) else {}
        others = [key for key in asked if known.get(key) != asked[key]]
        raise VirtualPoolError(
            f"{path}: holds the sensitivity for another {' and '.join(others)}; give another path, "
            "or remove it."
        )
    with naming(path):
        return Sensitivity.from_json(value)
