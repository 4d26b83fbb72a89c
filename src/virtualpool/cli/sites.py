"""`virtualpool sites`: where virtual pooling can go."""

from typing import TYPE_CHECKING

from virtualpool.cli import options
from virtualpool.cli.terminal import results, table

if TYPE_CHECKING:
    from virtualpool.sites import Site


def sites(
    model: options.Model,
    weights: options.Weights = None,
    size: options.Size = None,
    input_shape: options.InputShape = None,
    as_json: options.AsJson = False,
) -> None:
    """List the convolutions of a network: which can be pooled, and why the others cannot."""
    with results(as_json) as show:
        from dataclasses import asdict

        from virtualpool.cli.network import example_images, load_network
        from virtualpool.measure import macs
        from virtualpool.sites import sites as find_sites

        network = load_network(model, weights)
        images = example_images(network, size, input_shape)
        found = find_sites(network.module, images)
        every, side = macs(network.module, images), _by(tuple(images.shape[2:]))
        show([asdict(site) for site in found], lambda: _print(found, every, side))


def _print(found: "list[Site]", every: int, size: str) -> None:
    columns = [
        "site",
        "kernel",
        ">stride",
        ">output",
        ">MMACs",
        "follows",
        "before pool",
        "eligible",
    ]
    table(columns, [_row(site) for site in found])
    eligible = [site for site in found if site.eligible]
    share = sum(site.macs for site in eligible) / max(1, every)
    print(
        f"\n{len(eligible)} of {len(found)} convolutions can be pooled; "
        f"they do {share:.0%} of the {every / 1e6:,.0f} million MACs of all, for "
        f"images of {size} (--size)."
    )


def _row(site: "Site") -> list[str]:
    return [
        site.name,
        _by(site.kernel),
        _by(site.stride),
        _by(site.out_shape[1:]) or "-",
        f"{site.macs / 1e6:,.1f}",
        site.follows,
        "yes" if site.before_pool else "",
        "yes" if site.eligible else f"no: {site.reason}",
    ]


def _by(numbers: tuple[int, ...]) -> str:
    return "x".join(str(number) for number in numbers)
