"""Three small networks, of which each shows another way in which fusing can end."""

from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn.functional import interpolate, max_pool2d, relu


class Chain(nn.Module):
    """Convolutions one after the other, as in VGG."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 4, 3, padding=1)
        self.second = nn.Conv2d(4, 4, 3, padding=1)

    def forward(self, images: Tensor) -> Tensor:
        """Maps of 16 x 16 from images of 32 x 32."""
        return max_pool2d(relu(self.second(relu(self.first(images)))), 2)


class Block(nn.Module):
    """A branch that is added to its own input, as in ResNet."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, padding=1)
        self.branch = nn.Conv2d(4, 4, 3, padding=1)
        self.next = nn.Conv2d(4, 8, 1, stride=2)

    def forward(self, images: Tensor) -> Tensor:
        """Maps of 16 x 16 from images of 32 x 32."""
        shortcut = relu(self.stem(images))
        return self.next(relu(self.branch(shortcut) + shortcut))


class Enlarged(nn.Module):
    """An operation of which no rule is known, after a convolution that is pooled."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, padding=1)
        self.narrow = nn.Conv2d(8, 4, 1)

    def forward(self, images: Tensor) -> Tensor:
        """Maps of 64 x 64 from images of 32 x 32."""
        return interpolate(self.narrow(relu(self.first(images))), scale_factor=2)


@dataclass(frozen=True)
class Example:
    """A network, the sites at which it is pooled, and the point that it shows."""

    network: nn.Module
    sites: tuple[str, ...]
    title: str


def examples() -> list[Example]:
    """The networks of the picture, from left to right."""
    return [
        Example(Chain().eval(), ("first", "second"), "A chain, both pooled"),
        Example(Block().eval(), ("branch",), "A block, its branch pooled"),
        Example(Enlarged().eval(), ("first",), "Enlarged in the end"),
    ]
