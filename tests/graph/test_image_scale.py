import torch
from torch import nn

from virtualpool.graph.image_scale import Resizing, at_scale, resized, scale_of

IMAGES = torch.rand(2, 3, 12, 10, generator=torch.Generator().manual_seed(0))


def test_the_scale_is_seen_through_a_wrapper_and_before_other_hooks():
    model = nn.Identity()
    seen = []
    model.register_forward_pre_hook(lambda _, given: seen.append(given[0].shape[2]))
    Resizing(0.5).attach(model)
    assert (scale_of(model), scale_of(nn.DataParallel(model))) == (0.5, 0.5)
    assert torch.equal(model(IMAGES), resized(IMAGES, 0.5))
    assert seen == [6]


def test_the_scale_ends_where_it_is_said_to():
    model = nn.Identity()
    for scale in (0.5, 1.5, 1.0):
        with at_scale(model, scale):
            assert scale_of(model) == scale
            assert model(IMAGES).shape[2] == 12 * scale
        assert scale_of(model) == 1
        assert model(IMAGES) is IMAGES
