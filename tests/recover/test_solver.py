"""The two ways to change a layer."""

import torch
from torch import nn

from virtualpool import apply
from virtualpool.recover import reconstruction
from virtualpool.recover.solver import Rescaler


def test_mean_and_variance_come_of_a_number_for_each_channel_alone(monkeypatch):
    monkeypatch.setattr(reconstruction, "Solver", Rescaler)
    generator = torch.Generator().manual_seed(0)
    coarse = torch.randn(40, 3, 4, 4, generator=generator)
    images = nn.functional.interpolate(coarse, (12, 12), mode="bicubic")
    torch.manual_seed(0)
    original = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(),
        nn.Conv2d(8, 8, 3, padding=1, groups=8), nn.ReLU(), nn.Conv2d(8, 4, 1),
    ).eval()  # fmt: skip
    pooled = apply(original, images[:1])
    solved = reconstruction.reconstruct(pooled, original, [images])
    changed = 0
    for name in "0", "2", "4":
        before, after = (it.get_parameter(f"{name}.weight").flatten(1) for it in (pooled, solved))
        angles = nn.functional.cosine_similarity(before, after)
        torch.testing.assert_close(angles, torch.ones_like(angles))
        changed += int(not before.equal(after))
    assert changed == 3

    def spread(model: nn.Module) -> torch.Tensor:
        with torch.no_grad():
            return model(images)[..., ::2, ::2].std((0, 2, 3))

    wanted = spread(original)
    assert (spread(solved) - wanted).norm() < 0.5 * (spread(pooled) - wanted).norm()
