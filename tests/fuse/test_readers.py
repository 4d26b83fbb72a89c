"""Which convolutions read padded borders; the rest of a model reads as with exact ones."""

import pytest
from torch import nn
from torch.nn import functional

import virtualpool as vp
from tests.fuse.checks import assert_same, images, run
from virtualpool.plan import plan_of


class Twice(nn.Module):
    """A convolution that reads a recovered map and, in another call, one that is not."""

    def __init__(self, again):
        super().__init__()
        self.site, self.other = (nn.Conv2d(4, 4, 3, padding=1) for _ in range(2))
        self.shared = nn.Conv2d(4, 4, 3, 2, 1)
        self.again = again

    def forward(self, x):
        map = self.site(x).relu()
        return self.shared(map) + self.shared(self.other(x).relu() if self.again else x)


class Residual(nn.Module):
    """Of a sum of recovered maps everything reads even positions: the last one too."""

    def __init__(self):
        super().__init__()
        self.first, self.second = (nn.Conv2d(4, 4, 3, padding=1) for _ in range(2))
        self.inner, self.last = nn.Conv2d(4, 4, 3, padding=1), nn.Conv2d(4, 4, 1, 2)

    def forward(self, x):
        map = self.first(x).relu()
        return self.last(self.inner(map + self.second(map).relu()))


class Named(nn.Module):
    """The same convolution as a module with a hook, and as a function of its weight."""

    def __init__(self, hook):
        super().__init__()
        self.site, self.reader = nn.Conv2d(4, 4, 3, padding=1), nn.Conv2d(4, 4, 3, 2, 1)
        if hook:
            self.reader.register_forward_hook(lambda *_: None)
        self.hook = hook

    def forward(self, x):
        map = self.site(x).relu()
        return (
            self.reader(map)
            if self.hook
            else functional.conv2d(map, self.reader.weight, None, 2, 1)
        )


CASES = {
    "every call": (Twice(again=True), ["site", "other"], ("shared",)),
    "some calls": (Twice(again=False), ["site"], ()),
    "a sum": (Residual(), ["first", "second"], ("second", "inner")),
    "hooks": (Named(hook=True), ["site"], ()),
    "a function": (Named(hook=False), ["site"], ()),
    "padding before it": (
        nn.Sequential(nn.Conv2d(4, 4, 3), nn.ReLU(), nn.ZeroPad2d(1), nn.Conv2d(4, 4, 3, 2)),
        ["0"],
        (),
    ),
}


@pytest.mark.parametrize(("model", "sites", "readers"), CASES.values(), ids=CASES)
def test_reads_padded_borders(model, sites, readers):
    model = model.double().eval()
    x = images(20, 21, channels=4)
    pooled = vp.apply(model, x, sites, border="padded")
    assert plan_of(pooled).padded == readers
    fused = vp.fuse(pooled, x)
    for each in (x, images(17, 16, channels=4)):
        assert_same(run(fused, each), run(pooled, each))


def test_parts_of_what_cannot_be_traced_are_read_alike():
    class Branching(nn.Module):
        def __init__(self):
            super().__init__()
            conv = lambda: nn.Conv2d(4, 4, 3, padding=1)  # noqa: E731
            self.one = nn.Sequential(conv(), nn.ReLU(), conv(), nn.ReLU())
            self.other = nn.Sequential(conv(), nn.ReLU())

        def forward(self, x):
            x = self.one(x)
            return self.other(x) if x.sum() > -1 else x

    model = Branching().double().eval()
    x = images(12, 13, channels=4)
    pooled = vp.apply(model, x, border="padded")
    # Between the parts the map is in full, and so is what the other part reads.
    assert plan_of(pooled).padded == ("one.2",)
    assert_same(run(vp.fuse(pooled, x), x), run(pooled, x))
