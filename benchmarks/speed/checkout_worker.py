"""The part of `checkouts.py` that runs with the library of one checkout, and answers questions.

It imports only names that every version of the library has: old ones may lack or move the rest.
"""

import inspect
import json
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch._inductor import config as inductor
from torchvision.models import get_model

import virtualpool as vp


def serve(questions: Iterable[str]) -> Iterator[str]:
    """Answers questions, a line of JSON each.

    `{"network": name}` makes a network and gives its outputs and how many sites are fused;
    `{"seconds": number}` calls it for so long and gives the milliseconds per call.
    """
    made: Made | None = None
    for question in questions:
        asked = json.loads(question)
        if "network" in asked:
            made = Made.of(asked["network"])
            answer = {"outputs": made.call().flatten().tolist(), "sites": made.fused_sites}
        else:
            assert made is not None
            answer = {"ms": milliseconds(made.call, asked["seconds"])}
        yield json.dumps(answer)


@dataclass(frozen=True)
class Made:
    """A compiled fused network.

    Attributes:
        call: runs it on an image.
        fused_sites: how many sites are fused, as its report says; empty where that does not say.
    """

    call: Callable[[], Tensor]
    fused_sites: str

    @classmethod
    def of(cls, network: str) -> "Made":
        """The network of a name in torchvision, with the same weights in every process."""
        torch.manual_seed(0)
        options = {"init_weights": True} if network == "googlenet" else {}
        model = get_model(network, weights=None, **options).eval()
        image = torch.rand(1, 3, 224, 224).to(memory_format=torch.channels_last)
        return cls.fused(model, image)

    @classmethod
    def fused(cls, model: nn.Module, image: Tensor) -> "Made":
        """A model in eval mode with all sites pooled, fused and compiled."""
        fused = vp.fuse(_pooled(model, image), image).to(memory_format=torch.channels_last)
        sites = getattr(_report_of(fused), "fused", None)
        compiled = torch.compile(fused)
        return cls(lambda: compiled(image), "" if sites is None else str(len(sites)))


def _pooled(model: nn.Module, image: Tensor) -> nn.Module:
    """A model with all sites pooled, by any version of the library."""
    apply: Any = vp.apply
    # Before version 0.2.0 it was `apply(model, sites, example_inputs)`: the names tell which.
    is_new = list(inspect.signature(apply).parameters)[1] == "example_inputs"
    return apply(model, image, "all") if is_new else apply(model, "all", image)


def _report_of(fused: nn.Module) -> Any:
    """The report of fusing; older versions have it in the room alone."""
    if hasattr(vp, "report_of"):
        return vp.report_of(fused)
    from virtualpool.fuse import report_of

    return report_of(fused)


def milliseconds(call: Callable[[], Any], seconds: float) -> float:
    """Milliseconds per call, of calls that take about so many seconds together."""
    calls, started = 0, time.perf_counter()
    while (spent := time.perf_counter() - started) < seconds:
        call()
        calls += 1
    return 1e3 * spent / calls


if __name__ == "__main__":
    torch.set_num_threads(int(sys.argv[1]))
    inductor.freezing = True
    with torch.no_grad():
        for answer in serve(sys.stdin):
            print(answer, flush=True)
