"""From a file to an image in colour: files that would block, burst or change are refused."""

import stat
from pathlib import Path

import numpy as np
from PIL import Image

from virtualpool.errors import VirtualPoolError


def opened(path: Path | str) -> Image.Image:
    """The image in a file, decoded, in the mode that the file has it in.

    Raises:
        VirtualPoolError: it is no regular file; to read a pipe could wait for ever.
        Exception: whatever a decoder raises: OSError, SyntaxError, DecompressionBombError, ...
    """
    path = Path(path)
    if not stat.S_ISREG(path.stat().st_mode):
        raise VirtualPoolError("it is no regular file")
    with Image.open(path) as image:
        image.load()
        return image


def size_of(path: Path) -> tuple[int, int]:
    """Width and height of the image in a file, which is not decoded for it; raises as `opened`."""
    if not stat.S_ISREG(path.stat().st_mode):
        raise VirtualPoolError("it is no regular file")
    with Image.open(path) as image:
        return image.size


def in_colour(image: Image.Image) -> Image.Image:
    """An image as RGB with 8 bits a channel; black stays black, white white, and grey as grey.

    Pillow cuts larger values off at 255: a 16-bit image would become white. So 16 bits are scaled,
    and of floats those in [0, 1]. Of other numbers nobody knows which of them is white.

    >>> grey = Image.fromarray(np.full((1, 1), 32768, np.uint16))
    >>> in_colour(grey).getpixel((0, 0))
    (128, 128, 128)

    Raises:
        VirtualPoolError: it has floats outside of [0, 1], or whole numbers of 32 bits.
    """
    if image.mode.startswith("I;16"):
        image = _grey(np.asarray(image).astype(np.float64) / 65535)
    elif image.mode == "F":
        values = np.asarray(image)
        if not ((values >= 0) & (values <= 1)).all():  # nan is not in it either
            raise VirtualPoolError("it has floats that are not all between 0 and 1")
        image = _grey(values)
    elif image.mode == "I":
        values = np.asarray(image)
        # Pillow gives 16 bits of a PGM in this way, older versions of a PNG too; neither has more.
        if image.format not in ("PNG", "PPM"):
            raise VirtualPoolError("it has whole numbers of 32 bits, of which none is white")
        image = _grey(values / 65535)
    return image.convert("RGB")


def _grey(values: np.ndarray) -> Image.Image:
    """A grey image of values in [0, 1]."""
    return Image.fromarray((values * 255 + 0.5).astype(np.uint8))
