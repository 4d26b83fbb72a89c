"""The results for a network in all its forms and precisions, as tables in Markdown."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial

from benchmarks.accuracy.stacking_parts.precisions import FLOAT32, named, precisions
from benchmarks.common.comparison import PERCENTILES, Comparison, notes
from benchmarks.common.engines import ENGINES
from benchmarks.common.tables import section, table
from virtualpool.search import Score

NOT_YET = "not yet measured"


def accuracies(
    forms: Sequence[str], scores: Mapping[str, Mapping[str, Score | str]]
) -> dict[str, str]:
    """A table of accuracies by its caption.

    Args:
        forms: the rows.
        scores: of each runtime, by the names of forms in precisions; or why there is none.
    """

    def cell(runtime: str, precision: str, form: str) -> str:
        score = scores[runtime].get(named(form, precision), NOT_YET)
        return str(score) if isinstance(score, str) else f"{100 * score:.2f}"

    return {"Top-1, per cent:": _table(forms, list(scores), cell)}


def speeds(forms: Sequence[str], found: Mapping[str, Comparison]) -> dict[str, str]:
    """Tables of speed by their captions; the other forms are compared with the first.

    Args:
        forms: the rows.
        found: the comparison of each runtime.
    """
    original = forms[0]

    def stacked(runtime: str, precision: str, form: str) -> str:
        name = named(form, precision)
        return found[runtime].times_faster(name, over=named(original, FLOAT32))

    def alone(runtime: str, precision: str, form: str) -> str:
        over = named(original, precision)
        return found[runtime].times_faster(named(form, precision), over=over)

    def milliseconds(per_cent: int, runtime: str, precision: str, form: str) -> str:
        return found[runtime].percentile(named(form, precision), per_cent)

    def difference(runtime: str, precision: str, form: str) -> str:
        return found[runtime].difference(named(form, precision))

    tables = {
        f"How many times faster than {original} in float32, medians:": stacked,
        f"How many times faster than {original} in the same precision, medians:": alone,
        **{
            f"Milliseconds per call, {title}:": partial(milliseconds, per_cent)
            for title, per_cent in PERCENTILES.items()
        },
        "Largest difference of the outputs from PyTorch's (of int8: in float32), relative to the "
        "largest output:": difference,
    }
    return {caption: _table(forms, list(found), cell) for caption, cell in tables.items()}


def network(title: str, tables: Mapping[str, str], comparisons: Sequence[Comparison]) -> str:
    """The tables of a network, and the notes below them."""
    return section(title, tables, notes(list(comparisons)))


def _table(
    forms: Sequence[str], runtimes: Sequence[str], cell: Callable[[str, str, str], str]
) -> str:
    columns = [(runtime, it) for runtime in runtimes for it in precisions(runtime)]
    head = ["network", *(f"{ENGINES[runtime].title}, {it}" for runtime, it in columns)]
    return table(head, ([form, *(cell(*column, form) for column in columns)] for form in forms))
