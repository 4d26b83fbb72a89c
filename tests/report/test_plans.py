from dataclasses import replace

from tests.search.planning.made import trial

from virtualpool import Target, Unit
from virtualpool.report.plans import table
from virtualpool.search.planning.trial import Decision, Plans


def test_the_table_has_kept_plans_near_ones_and_images_alone() -> None:
    kept = Decision(trial("ab", drop=0.0123, error=0.002), True, "nothing beats it", True)
    decisions = (
        Decision(trial("a", speedup=1.5), False, "the others say more", True),
        kept,
        Decision(trial("b"), False, "beaten"),
        Decision(trial(scale=0.5, speedup=4.0), False, "beaten"),
    )
    plans = Plans(Target(1), decisions, "Pooling is ahead.")
    assert Plans.from_json(plans.to_json()) == plans
    found = table(plans, Unit("accuracy"))
    assert (found["tried"], found["target"], found["smaller"]) == (
        4,
        "1 model",
        "Pooling is ahead.",
    )
    assert [(it["model"], it["plan"], it["speedup"]) for it in found["rows"]] == [
        ("left", "1 site (a)", "1.50×"),
        ("round 1", "2 sites (a, b)", "2.00×"),
        ("left", "images at scale 0.5 alone", "4.00×"),
    ]
    assert (found["rows"][1]["drop"], found["rows"][1]["why"]) == (
        "1.2",
        "a test; nothing beats it",
    )
    assert not replace(plans, decisions=()).kept
