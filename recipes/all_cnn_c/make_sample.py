"""Makes the CIFAR-10 sample that comes with the package: 200 training and 100 test images a class.

    python recipes/all_cnn_c/make_sample.py cifar10.tar.xz

`cifar10.tar.xz` holds `cifar10/{train,test}/<class>/*.jpg`. The images are evenly spaced over each
class and copied byte for byte; the same input gives the same archive.
"""

import argparse
import io
import lzma
import tarfile
from collections import defaultdict
from pathlib import Path, PurePosixPath

from virtualpool.files import replacing

PER_CLASS = {"train": 200, "test": 100}
TARGET = Path(__file__).parents[2] / "src/virtualpool/tasks/cifar10_sample.tar.xz"


def evenly_spaced(names: list[str], count: int) -> list[str]:
    """`count` of the sorted names, spread over all of them."""
    names = sorted(names)
    return [names[position * len(names) // count] for position in range(count)]


def read_images(archive: Path) -> dict[str, bytes]:
    """Every image of the archive, by its path inside."""
    with tarfile.open(archive) as tar:
        return {
            member.name: file.read()
            for member in tar
            if member.name.endswith(".jpg") and (file := tar.extractfile(member))
        }


def main() -> None:
    """Reads the full archive, writes the sample."""
    parser = argparse.ArgumentParser(description="Makes the CIFAR-10 sample of the package.")
    parser.add_argument("archive", type=Path, help="cifar10.tar.xz")
    parser.add_argument("--target", type=Path, default=TARGET)
    arguments = parser.parse_args()

    images = read_images(arguments.archive)
    by_class = defaultdict(list)
    for name in images:
        by_class[PurePosixPath(name).parent].append(name)

    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for folder, names in sorted(by_class.items()):
            for name in evenly_spaced(names, PER_CLASS[folder.parent.name]):
                member = tarfile.TarInfo(str(PurePosixPath(*PurePosixPath(name).parts[1:])))
                member.size = len(images[name])
                tar.addfile(member, io.BytesIO(images[name]))
    with replacing(arguments.target) as beside:
        beside.write_bytes(lzma.compress(plain.getvalue(), preset=9))
    print(f"{arguments.target}: {arguments.target.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
