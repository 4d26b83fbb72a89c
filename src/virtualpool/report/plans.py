"""Why a search for a target kept its plans, as a short table of the page."""

from typing import Any

from virtualpool.measure.unit import Unit
from virtualpool.search.planning.trial import Plans


def table(plans: Plans, unit: Unit) -> dict[str, Any]:
    """The target, whether other image scales paid, and a row for each plan that says why."""
    kept = [trial.draft for trial in plans.kept]
    return {
        "target": str(plans.target),
        "smaller": plans.smaller,
        "noise": plans.noise,
        "tried": len(plans.decisions),
        "rows": [
            {
                "model": f"round {kept.index(each.trial.draft) + 1}" if each.kept else "left",
                "plan": str(each.trial.draft),
                "drop": unit.number(each.trial.drop),
                "error": unit.plus_minus(each.trial.standard_error).strip(),
                "speedup": f"{each.trial.speedup:.2f}×",
                "why": f"{each.trial.why}; {each.reason}",
            }
            for each in plans.decisions
            if each.is_telling
        ],
    }
