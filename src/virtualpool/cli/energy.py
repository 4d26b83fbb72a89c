"""How energy is measured, as the command line asks for it."""

from typing import Any


def asked(
    energy: bool, source: str | None, unit: str, interval: float, idle: str, repeats: int
) -> dict[str, Any] | None:
    """Options of `virtualpool.measure.energy`; None where energy is not asked for.

    Raises:
        VirtualPoolError: the meter that is named cannot be read.
    """
    from virtualpool.measure import meter

    if not energy and source is None:
        return None
    named = None if source is None else meter(source, unit=unit, interval=interval)
    return {"meter": named, "idle": idle, "repeats": repeats}
