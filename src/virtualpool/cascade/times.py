"""How long a cascade takes, from the latencies of its two models."""

from dataclasses import dataclass
from typing import Any

from virtualpool.measure.latency import Latency


@dataclass(frozen=True)
class Times:
    """The latencies of the two models of a cascade, interleaved, with the same images a call.

    Attributes:
        fast: the fast model's latency.
        slow: the original's latency.
    """

    fast: Latency
    slow: Latency

    @property
    def images(self) -> int:
        """Images a call."""
        return self.slow.setting.batch

    @property
    def worst_ms(self) -> float:
        """Milliseconds of a call in which the fast model is sure of no image."""
        return self.fast.median_ms + self.slow.median_ms

    def expected_ms(self, answered: float) -> float:
        """Milliseconds of a call, by the medians.

        In a batch the original's time counts in proportion to its images; fewer images a call often
        take it longer each.

        Args:
            answered: the share of images that the fast model answers.
        """
        return self.fast.median_ms + (1 - answered) * self.slow.median_ms

    def speedup(self, answered: float) -> float:
        """How many times faster than the original a call is expected to be.

        Args:
            answered: the share of images that the fast model answers.
        """
        return self.slow.median_ms / self.expected_ms(answered)

    def to_json(self) -> dict[str, Any]:
        """A JSON-able value."""
        return {"fast": self.fast.to_json(), "slow": self.slow.to_json()}
