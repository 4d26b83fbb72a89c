"""Quantises an ONNX file to int8 for OpenVINO with NNCF.

    python -m benchmarks.accuracy.quantise_openvino network.onnx images.npy network.xml

`stacking.py` runs this, in the environment that has NNCF. The images, (batches, N, 3, H, W), are
for calibration.
"""

import sys

import nncf  # pyright: ignore[reportMissingImports]
import numpy
import openvino


def main() -> None:
    source, images, target = sys.argv[1:]
    batches = list(numpy.load(images))
    quantised = nncf.quantize(
        openvino.convert_model(source), nncf.Dataset(batches), subset_size=len(batches)
    )
    openvino.save_model(quantised, target, compress_to_fp16=False)


if __name__ == "__main__":
    main()
