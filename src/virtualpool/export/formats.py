"""The formats, and which one a path asks for."""

from pathlib import Path

from virtualpool.errors import VirtualPoolError
from virtualpool.export.aoti import AOTI
from virtualpool.export.coreml import COREML
from virtualpool.export.executorch import EXECUTORCH
from virtualpool.export.format import Format
from virtualpool.export.onnx import ONNX, ONNX_ANY
from virtualpool.export.openvino import OPENVINO
from virtualpool.export.program import PROGRAM
from virtualpool.export.tensorrt import TENSORRT
from virtualpool.files import check_suffix

_ALL = (ONNX, ONNX_ANY, OPENVINO, PROGRAM, AOTI, EXECUTORCH, COREML, TENSORRT)
FORMATS = {each.name: each for each in _ALL}
# Of formats with the same suffix the first one has it.
_BY_SUFFIX = {each.suffix: each for each in reversed(_ALL)}


def format_of(path: Path, name: str | None) -> Format:
    """The format of a name, or else of the suffix of a path.

    Raises:
        VirtualPoolError: there is no such format, or its files end otherwise.

    >>> format_of(Path("net.onnx"), None).title, format_of(Path("net.onnx"), "tensorrt").title
    ('ONNX', 'ONNX for TensorRT')
    """
    if name is None:
        if path.suffix not in _BY_SUFFIX:
            raise VirtualPoolError(
                f"{path}: no format has files that end in {path.suffix!r}. Give a name that ends "
                f"in {', '.join(sorted(_BY_SUFFIX))}."
            )
        return _BY_SUFFIX[path.suffix]
    if name not in FORMATS:
        raise VirtualPoolError(f"There is no format {name!r:.40}. Give {', '.join(FORMATS)}.")
    check_suffix(path, FORMATS[name].suffix)
    return FORMATS[name]
