"""The frames of a video or a folder, and where the pictures that are made of them go to."""

import itertools
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from tempfile import TemporaryFile
from types import ModuleType

import torch
from PIL import Image, ImageDraw
from torch import Tensor
from torchvision.transforms.v2.functional import pil_to_tensor, to_pil_image
from torchvision.utils import draw_bounding_boxes

from virtualpool import VirtualPoolError
from virtualpool.files import replacing

IMAGES = (".jpg", ".jpeg", ".png")
COLOURS = ("red", "lime", "deepskyblue", "gold", "magenta", "orange", "cyan", "white")

Say = Callable[[str], None]
Show = Callable[[Image.Image], object]
"""Shows or writes a picture."""


def frames(source: Path, say: Say) -> Iterator[Tensor]:
    """(3, H, W) uint8 frames of a video or a folder; what cannot be read is said and left out."""
    if not source.is_dir():
        yield from _of_video(source, say)
        return
    for path in sorted(source.iterdir()):
        if path.suffix.lower() in IMAGES:
            try:
                with Image.open(path) as image:
                    yield pil_to_tensor(image.convert("RGB"))
            except Exception as error:  # decoders raise anything: OSError, SyntaxError, ...
                say(f"{path} cannot be read and is left out ({error})")


def _of_video(path: Path, say: Say) -> Iterator[Tensor]:
    av = _av()
    try:
        with av.open(path) as file:
            for frame in file.decode(video=0):
                yield torch.from_numpy(frame.to_ndarray(format="rgb24")).permute(2, 0, 1)
    except (av.FFmpegError, IndexError) as error:  # IndexError: there is sound alone
        say(f"{path} cannot be read to its end ({error})")


def drawn(
    frame: Tensor, found: dict[str, Tensor], classes: Sequence[str], text: str
) -> Image.Image:
    """A frame with the boxes that were found, their names and scores, and a text."""
    labels = [int(label) for label in found["labels"]]
    if labels:
        names = [classes[label - 1] if label <= len(classes) else str(label) for label in labels]
        frame = draw_bounding_boxes(
            frame,
            found["boxes"],
            [f"{name} {score:.2f}" for name, score in zip(names, found["scores"], strict=True)],
            colors=[COLOURS[label % len(COLOURS)] for label in labels],
            width=2,
            fill_labels=True,
        )
    image = to_pil_image(frame)
    ImageDraw.Draw(image).text(
        (4, 4), text, "white", font_size=18, stroke_width=2, stroke_fill="black"
    )
    return image


@contextmanager
def window(first: Tensor) -> Iterator[Show]:
    """A window of the size of the first frame. To close it is as Ctrl-C."""
    try:
        import tkinter

        from PIL.ImageTk import PhotoImage

        root = tkinter.Tk()
    except Exception as error:  # there is no tkinter, or no display
        raise VirtualPoolError(f"--show: no window can be opened here ({error}).") from error
    is_open = tkinter.BooleanVar(root, True)
    root.protocol("WM_DELETE_WINDOW", lambda: is_open.set(False))
    size = first.shape[2], first.shape[1]
    image = PhotoImage("RGB", size, master=root)
    tkinter.Label(root, image=str(image)).pack()

    def show(picture: Image.Image) -> None:
        image.paste(picture.resize(size))
        root.update()
        if not is_open.get():
            raise KeyboardInterrupt

    try:
        yield show
    finally:
        root.destroy()


@contextmanager
def video(path: Path, frames_per_second: float, first: Tensor) -> Iterator[Show]:
    """An MP4 file of the size of the first frame, made even as H.264 needs it."""
    av = _av()
    with replacing(path) as beside, av.open(str(beside), "w", format="mp4") as file:
        stream = file.add_stream("h264", Fraction(frames_per_second).limit_denominator(1000))
        stream.pix_fmt = "yuv420p"
        stream.height, stream.width = (side - side % 2 for side in first.shape[1:])

        def show(picture: Image.Image) -> None:
            file.mux(stream.encode(av.VideoFrame.from_image(picture)))

        yield show
        file.mux(stream.encode())


@contextmanager
def folder(path: Path) -> Iterator[Show]:
    """A folder of numbered images."""
    try:
        path.mkdir(parents=True, exist_ok=True)
        TemporaryFile(dir=path).close()  # a folder that is there may be one to read only
    except OSError as error:
        raise VirtualPoolError(f"{path}: cannot be written ({error.strerror}).") from error
    numbers = itertools.count(1)
    yield lambda picture: picture.save(path / f"{next(numbers):06}.jpg")


def _av() -> ModuleType:
    """The package that reads and writes videos: folders of images need none."""
    try:
        import av
    except ModuleNotFoundError as error:
        raise VirtualPoolError(
            "A video is read and written by the package av: pip install 'virtualpool[examples]'"
        ) from error
    return av
