"""Processor time of a call in one thread: for a machine that others use at the same time.

    python -m benchmarks.speed.processor_time --network resnet50 --batch 1 --runtime eager

Time in which the process waits for a processor is not in it. Candidates are run interleaved.
"""

import time
from functools import partial
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from benchmarks.common.arguments import add_networks, parser
from benchmarks.common.candidates import NAMES, candidates, with_padded_borders
from benchmarks.common.engines import ENGINES, Run
from benchmarks.common.networks import images, network, usual_side
from benchmarks.common.tables import table
from benchmarks.common.times import median, three_digits

_FEWEST, _MOST = 5, 60
"""How often a candidate is run."""
_SHOWN = ("unfused", "fused", "padded", NAMES[-1])


@torch.no_grad()
def main() -> None:
    options = parser(__doc__)
    add_networks(options)
    options.add_argument("--runtime", nargs="+", choices=ENGINES, default=["eager"])
    options.add_argument("--duration-s", type=float, default=12, help="of a runtime, about")
    given = options.parse_args()
    torch.set_num_threads(1)
    rows = [
        [name, str(batch), ENGINES[engine].title, *_cells(times)]
        for name, batch in product(given.network, given.batch)
        for engine, times in _measured(name, batch, given.runtime, given.duration_s).items()
    ]
    shares = [f"{name} / {NAMES[-1]}" for name in ("fused", "padded")]
    print(table(["network", "batch", "runtime", "unmodified, ms", *_SHOWN, *shares], rows))


def _measured(
    name: str, batch: int, engines: list[str], duration_s: float
) -> dict[str, dict[str, float]]:
    """Milliseconds of each candidate in each runtime, medians."""
    side = usual_side(name)
    model, given = network(name, side), images(batch, side)
    compared = candidates(model, given) | {"padded": with_padded_borders(model, given)}
    found = {}
    with TemporaryDirectory() as folder:
        for engine in engines:
            runs = {
                key: ENGINES[engine].ready(each.model, each.images, Path(folder, f"{key}.onnx"), 1)(
                    each.images
                )
                for key, each in compared.items()
            }
            found[engine] = _interleaved(runs, duration_s)
    return found


def _interleaved(runs: dict[str, Run], duration_s: float) -> dict[str, float]:
    samples: dict[str, list[float]] = {key: [] for key in runs}
    end = time.monotonic() + duration_s
    for repeat in range(_MOST):
        if repeat >= _FEWEST and time.monotonic() > end:
            break
        for key in list(runs)[:: 1 if repeat % 2 else -1]:
            start = time.process_time()
            runs[key]()
            samples[key].append(1e3 * (time.process_time() - start))
    return {key: median(each) for key, each in samples.items()}


def _cells(times: dict[str, float]) -> list[str]:
    faster = partial(_ratio, times)
    return [
        three_digits(times[NAMES[0]]),
        *(faster(name, NAMES[0]) for name in _SHOWN),
        *(faster(name, NAMES[-1]) for name in ("fused", "padded")),
    ]


def _ratio(times: dict[str, float], name: str, over: str) -> str:
    return f"{times[over] / times[name]:.2f}"


if __name__ == "__main__":
    main()
