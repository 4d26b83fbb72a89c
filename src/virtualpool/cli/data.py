"""The images that the command line names, prepared as the network wants them."""

from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

from virtualpool.cli.network import Network
from virtualpool.errors import VirtualPoolError
from virtualpool.tasks import segmentation
from virtualpool.tasks.detection import Augmentation
from virtualpool.tasks.preprocessing import Preprocessing
from virtualpool.tasks.sources import open_source

Kind = Literal["classification", "detection", "segmentation"]
Colour = tuple[float, float, float]


@dataclass(frozen=True)
class Preparation:
    """How the user wants images prepared; `None` where the user gave no value."""

    size: int | None = None
    resize: int | None = None
    mean: Colour | None = None
    std: Colour | None = None
    augmentation: str | None = None

    def for_images(self, source: str, network: Network) -> Preprocessing:
        """How the images of `source` are prepared for `network`.

        The user's options come first, then the values that the weights were trained with, then the
        usual ones of the data set, then the usual ones of the network.

        Raises:
            VirtualPoolError: nothing says how large the images should be, or there is no such data.
        """
        usual = network.preprocessing
        if _has_its_own(source) and not (network.trained and usual):
            usual = open_source(source).preprocessing
        said = self._said
        if usual is None:
            if "size" not in said:
                raise VirtualPoolError(
                    f"{source}: give the side of the model's images by --size "
                    "(and --resize, --mean, --std where they differ from ImageNet's)."
                )
            return Preprocessing(**said)
        if "size" in said and usual.resize:
            said = {"resize": round(usual.resize * said["size"] / usual.size)} | said
        return replace(usual, **said)

    def for_unlabelled(self, source: str, network: Network) -> Preprocessing:
        """How the images of a folder without labels are prepared for `network`.

        A detector prepares them by itself: their colours stay, and they have the side to which it
        resizes them.

        Raises:
            VirtualPoolError: nothing says how large the images should be, or a detector's own
                preparation is asked for.
        """
        if not network.resizes:
            return self.for_images(source, network)
        self._refuse_all_but("size")
        return Preprocessing(self.size or network.size, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))

    def for_boxes(self) -> Augmentation:
        """How training images are varied for a detector, which prepares images by itself.

        Raises:
            VirtualPoolError: more was said, or a way that does not know of boxes.
        """
        self._refuse_all_but("augmentation")
        if self.augmentation not in (None, *get_args(Augmentation)):
            raise VirtualPoolError(
                f"--augment {self.augmentation}: for detection there are "
                f"{', '.join(get_args(Augmentation))}."
            )
        return self.augmentation or "flip"  # pyright: ignore[reportReturnType]

    def for_masks(self) -> segmentation.Preparation:
        """How images and masks are prepared for segmentation: the crops have `size`.

        Raises:
            VirtualPoolError: there is no such augmentation, or it crops and there is no size.
        """
        given = self._said
        side = given.pop("size", None)
        given.setdefault("augmentation", "flip" if side is None else "crop")
        return segmentation.Preparation(crop=None if side is None else (side, side), **given)

    def origin(self, task: Kind, source: str, network: Network) -> str:
        """The source of the values that the user did not give, for people; may be empty."""
        if task == "detection":
            return "the detector resizes and normalises them by itself"
        if task == "classification":
            if network.trained and network.preprocessing:
                return "the rest is the weights' own"
            if _has_its_own(source):
                return "the rest is usual for the data set"
            if network.preprocessing:
                return "the rest is usual for the network"
        if "mean" in self._said and "std" in self._said:
            return ""
        return "mean and std are ImageNet's where not asked: give yours by --mean and --std"

    def _refuse_all_but(self, name: str) -> None:
        if others := [each for each in self._said if each != name]:
            raise VirtualPoolError(
                f"--{' and --'.join(others)}: a detector resizes and normalises images by itself; "
                "set its own options (min_size, image_mean) where it is built."
            )

    @property
    def _said(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if value is not None}


def _has_its_own(source: str) -> bool:
    """Whether a data set says how its images are prepared."""
    return source.startswith(("sample:", "torchvision:"))
