"""The CIFAR-10 sample that comes with the package, as a folder of images."""

import hashlib
import shutil
import tarfile
import tempfile
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

from virtualpool.errors import VirtualPoolError
from virtualpool.files import cache_folder

_ARCHIVE = "cifar10_sample.tar.xz"


def cifar10_sample() -> Path:
    """The folder of the sample, `{train,test}/<class>/<image>`, unpacked the first time.

    2,000 training and 1,000 test images of CIFAR-10, balanced over its ten classes. The folder is
    whole or absent, also when several processes ask for it at once.

    Raises:
        VirtualPoolError: the cache folder cannot be written.
    """
    with as_file(files("virtualpool.tasks") / _ARCHIVE) as archive:
        digest = hashlib.sha256(archive.read_bytes()).hexdigest()
        folder = cache_folder() / f"cifar10-sample-{digest[:12]}"
        if not folder.is_dir():
            try:
                _unpack(archive, folder)
            except OSError as error:
                raise VirtualPoolError(
                    f"{folder}: the sample cannot be unpacked ({error.strerror}); "
                    "set VIRTUALPOOL_CACHE to a folder that can be written."
                ) from error
    return folder


def _unpack(archive: Path, folder: Path) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    beside = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
    try:
        # Python 3.10 and 3.11 have the filter since a security release; the archive is our own.
        safely: Any = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}
        with tarfile.open(archive) as tar:
            tar.extractall(beside, **safely)
        beside.chmod(0o755)
        beside.rename(folder)
    except OSError:
        # Another process may have been faster: its folder is as good.
        if not folder.is_dir():
            raise
    finally:
        shutil.rmtree(beside, ignore_errors=True)
