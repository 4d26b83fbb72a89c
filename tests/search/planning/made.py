"""Plans that were tried, made by hand, and a clock that needs no time."""

from virtualpool import plan_of
from virtualpool.measure import Latency, Setting
from virtualpool.measure.latency import Timed
from virtualpool.search.planning.trial import Draft, Trial

SAVED = {"0": 1.0, "2": 1.5, "5": 2.5}
SETTING = Setting("cpu", "A processor", "float32", 1, 1, "eager", True, "2.9.0")


def trial(
    sites: str = "",
    *,
    scale: float = 1.0,
    drop: float = 0.0,
    speedup: float = 2.0,
    error: float | None = None,
    readers: str = "",
) -> Trial:
    """A trial; names of sites and readers are single letters. The original takes 8 ms."""
    return Trial(
        draft=Draft(tuple(sites), scale),
        drop=drop,
        standard_error=error,
        speedup=speedup,
        latency_ms=8 / speedup,
        saved_ms=8 - 8 / speedup,
        readers=tuple(readers),
        seconds=1.0,
        why="a test",
    )


def latency(timed: dict[str, Timed], inputs: object, **_: object) -> dict[str, Latency]:
    """The original takes 8 ms, a plan as many fewer as its sites save, and less on fewer pixels."""

    def milliseconds(model: Timed) -> float:
        plan = plan_of(model[0] if isinstance(model, tuple) else model)
        if isinstance(model, tuple) and plan.is_empty:
            return 2
        return (8 - sum(SAVED.get(site, 1.0) for site in plan.names)) * plan.image_scale**2

    return {
        name: Latency((ms := milliseconds(it), ms * 1.1), SETTING) for name, it in timed.items()
    }
