"""The report of fusing: the fused sites, the maps still interpolated, and why."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

from torch import fx, nn

from virtualpool.errors import VirtualPoolError
from virtualpool.fuse.choice.ways import taken
from virtualpool.fuse.kernels.sites import NAME
from virtualpool.fuse.passes.convolutions import MODULE
from virtualpool.fuse.questions.builder import GraphBuilder
from virtualpool.fuse.questions.decisions import Answers
from virtualpool.graph.sums import sum_behind
from virtualpool.operator.pool import virtual_pool
from virtualpool.schema import Finite, converted
from virtualpool.torch_private import modules_around


@dataclass(frozen=True)
class Interpolation:
    """A map that the fused model still interpolates.

    Attributes:
        sites: the pooled sites whose values are in it.
        asked_by: the operations that need it in full, by the name of their module or function.
    """

    sites: tuple[str, ...]
    asked_by: tuple[str, ...]

    @property
    def why(self) -> str:
        """Why it is interpolated, in words.

        >>> Interpolation(("conv1",), ("output", "norm")).why
        'output, norm need it in full'
        """
        return f"{_and(self.asked_by)} it in full"


@dataclass(frozen=True)
class Choice:
    """Between several exact ways to compute a convolution, by their times on the user's machine.

    Attributes:
        operation: by the name of its module.
        taken: the way that was taken.
        milliseconds: the time of each way.
    """

    operation: str
    taken: str
    milliseconds: dict[str, Finite]

    def __post_init__(self) -> None:
        if self.taken not in self.milliseconds:
            raise VirtualPoolError(f"{self.operation}: {self.taken} was taken and not timed.")

    def __str__(self) -> str:
        """In words.

        >>> print(Choice("conv2d in head", "transposed", {"full": 2.0, "transposed": 1.51}))
        conv2d in head: transposed (1.51 ms; full: 2 ms)
        """
        others = (
            f"; {way}: {time:.3g} ms"
            for way, time in self.milliseconds.items()
            if way != self.taken
        )
        own = f"{self.milliseconds[self.taken]:.3g} ms"
        return f"{self.operation}: {self.taken} ({own}{''.join(others)})"


@dataclass(frozen=True)
class Report:
    """The fate of a model's virtual pools: fused or interpolated.

    Attributes:
        fused: sites whose maps are nowhere interpolated.
        interpolations: maps that are, and who asks for them.
        left: submodules with pooled sites that were left as they are, and why.
        choices: between several ways that give the same.
    """

    fused: tuple[str, ...] = ()
    interpolations: tuple[Interpolation, ...] = ()
    left: dict[str, str] = field(default_factory=dict)
    choices: tuple[Choice, ...] = ()

    def __str__(self) -> str:
        """A line on the whole, and one on each thing that was not fused, and on each choice.

        >>> print(Report(("a",), (Interpolation(("b",), ("output",)),), {"c": "has hooks"}))
        1 site fused; 1 map is still interpolated
          b: output needs it in full
          c is as it was: has hooks
        """
        return "\n  ".join([self.summary, *self.remaining, *map(str, self.choices)])

    @property
    def summary(self) -> str:
        """A line on the whole."""
        fused, interpolated = len(self.fused), len(self.interpolations)
        return (
            f"{fused} {'site' if fused == 1 else 'sites'} fused; {interpolated} "
            f"{'map is' if interpolated == 1 else 'maps are'} still interpolated"
        )

    @property
    def brief(self) -> list[str]:
        """For a log: a line on the whole, then on the first few things that were not fused."""
        left, most = self.remaining, 3
        more = f"and {len(left) - most} more, which virtualpool.summary(model) lists"
        return [self.summary, *left[:most], *([more] if len(left) > most else [])]

    @property
    def sites(self) -> set[str]:
        """The sites in the rewritten part, whether their maps are still interpolated or not."""
        return {*self.fused, *(site for each in self.interpolations for site in each.sites)}

    @property
    def remaining(self) -> list[str]:
        """A line on each thing that was not fused."""
        interpolated = [f"{', '.join(each.sites)}: {each.why}" for each in self.interpolations]
        left = [f"{name or 'the model'} is as it was: {why}" for name, why in self.left.items()]
        return interpolated + left

    def joined(self, other: "Report") -> "Report":
        """The report of two parts of a model."""
        return Report(
            self.fused + other.fused,
            self.interpolations + other.interpolations,
            self.left | other.left,
            self.choices + other.choices,
        )

    def to_json(self) -> dict[str, Any]:
        """A JSON-able value."""
        return {
            "fused": list(self.fused),
            "interpolations": [
                {"sites": list(each.sites), "asked_by": list(each.asked_by)}
                for each in self.interpolations
            ],
            "left": self.left,
            "choices": [asdict(each) for each in self.choices],
        }

    @classmethod
    def from_json(cls, value: Any) -> "Report":
        """The report of a JSON value; one that is none is refused."""
        return converted(value, cls, "a report of fusing")


def report_on(graph: fx.Graph, builder: GraphBuilder, answers: Answers) -> Report:
    """The report of one graph that was rebuilt.

    Args:
        graph: the old graph.
        builder: the builder of the new one.
        answers: the questions, and who asked them.
    """
    interpolations = []
    for value in builder.recovered:
        sites = dict.fromkeys(_sites(value, builder))
        askers = dict.fromkeys(_name(asker, builder) for asker in reversed(answers.askers[value]))
        interpolations.append(Interpolation(tuple(sites), tuple(askers)))
    recovered = {site for each in interpolations for site in each.sites}
    # A site that is called several times has as many maps.
    sites = dict.fromkeys(node.meta[NAME] for node in graph.nodes if NAME in node.meta)
    fused = tuple(site for site in sites if site not in recovered)
    choices = tuple(
        Choice(
            _name(node, builder),
            taken(ways).name.lower(),
            {way.name.lower(): time for way, time in ways.items()},
        )
        for node, ways in builder.choices.items()
        if len(ways) > 1
    )
    return Report(fused, tuple(interpolations), choices=choices)


def _sites(value: fx.Node, builder: GraphBuilder) -> Iterator[str]:
    """The sites whose maps a value is made of; of a chain of blocks, the last one's."""
    if NAME in value.meta:
        yield value.meta[NAME]
        return
    made_of = sum_behind(value) if value.target is virtual_pool else value
    sources = [it for it in made_of.all_input_nodes if it in builder.values.interpolated]
    own = [it for it in sources if it.target is not virtual_pool or NAME in it.meta]
    for source in own or sources:
        yield from _sites(source, builder)


def _name(node: fx.Node, builder: GraphBuilder) -> str:
    if node.op in ("output", "call_module"):
        return str(node.target)
    if MODULE in node.meta:
        return node.meta[MODULE]
    around = modules_around(node)
    module = around[-1] if around else ""
    operation = getattr(node.target, "__name__", str(node.target))
    return f"{operation} in {module}" if module else operation


def _and(names: tuple[str, ...]) -> str:
    if not names:
        return "something needs"
    return f"{', '.join(names)} {'needs' if len(names) == 1 else 'need'}"


_REPORT = "_virtualpool_report"


def report_of(model: nn.Module) -> Report | None:
    """The report of a fused model; none for a model that is not fused."""
    return vars(model).get(_REPORT)


def attach(model: nn.Module, report: Report) -> None:
    """Makes a fused model carry its report."""
    setattr(model, _REPORT, report)
