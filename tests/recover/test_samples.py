import pytest
import torch
from torch import nn
from torch.nn import functional

from virtualpool.recover.samples import patches, positions, targets

LAYERS = {
    "3x3": nn.Conv2d(4, 6, 3, padding=1),
    "no padding": nn.Conv2d(4, 6, 3),
    "stride two": nn.Conv2d(4, 6, 3, stride=2, padding=1),
    "dilated": nn.Conv2d(4, 6, 3, padding=2, dilation=2),
    "not square": nn.Conv2d(4, 6, (1, 3), stride=(1, 2), padding=(0, 1)),
    "same": nn.Conv2d(4, 6, (3, 5), padding="same", dilation=(1, 2)),
    "valid": nn.Conv2d(4, 6, 3, padding="valid"),
    "reflected": nn.Conv2d(4, 6, 3, padding=1, padding_mode="reflect"),
    "circular": nn.Conv2d(4, 6, 3, padding=1, padding_mode="circular"),
    "grouped": nn.Conv2d(4, 6, 3, padding=1, groups=2),
    "depthwise": nn.Conv2d(4, 8, 3, padding=1, groups=4),
}


@pytest.mark.parametrize("layer", LAYERS.values(), ids=LAYERS)
def test_a_patch_times_the_weights_is_the_output(layer):
    x = torch.rand(2, 4, 9, 8)
    out = layer(x)
    where = positions((out.shape[2], out.shape[3]), 7, torch.Generator())
    rows = patches(layer, x, where)
    weight = layer.weight.reshape(layer.groups, -1, rows.shape[2])
    given = rows @ weight.transpose(1, 2) + layer.bias.reshape(layer.groups, 1, -1)
    expected = targets(out, where, 1, blurred=False)
    torch.testing.assert_close(given.transpose(0, 1).flatten(1), expected)


@pytest.mark.parametrize("size", [(8, 8), (7, 8), (1, 5)])
@pytest.mark.parametrize("blurred", [False, True])
def test_targets_are_samples_of_a_map(size, blurred):
    x = torch.rand(2, 3, *size)
    where = positions((-(-size[0] // 2), -(-size[1] // 2)), 99, torch.Generator())
    kernel = torch.tensor([0.25, 0.5, 0.25])
    blur = kernel.outer(kernel).expand(3, 1, 3, 3)
    wide = functional.pad(x, (1, 1, 1, 1), mode="replicate")
    wanted = functional.conv2d(wide, blur, groups=3) if blurred else x
    rows, columns = where
    expected = wanted[:, :, ::2, ::2][:, :, rows, columns].permute(0, 2, 1).flatten(0, 1)
    torch.testing.assert_close(targets(x, where, 2, blurred=blurred), expected)
