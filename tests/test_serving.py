"""The C++ program of docs/serving.md, where a compiler and ONNX Runtime's archive for C++ are."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import torch

import virtualpool as vp
from virtualpool.models import all_cnn_c

PAGE = Path(__file__).parents[1] / "docs" / "serving.md"
HOME = os.environ.get("ONNXRUNTIME_HOME", "")


@pytest.mark.skipif(
    not (HOME and shutil.which("g++")), reason="needs g++ and ONNX Runtime's headers for C++"
)
def test_the_program_in_cpp(tmp_path: Path) -> None:
    code = re.findall(r"^```cpp\n(.*?)^```$", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    source, program = tmp_path / "serve.cpp", tmp_path / "serve"
    source.write_text(code[0])
    library = f"-L{HOME}/lib", "-lonnxruntime", f"-Wl,-rpath,{HOME}/lib"
    include = f"-I{HOME}/include"
    command = ["g++", "-std=c++17", include, str(source), "-o", str(program), *library]
    subprocess.run(command, check=True)
    network, images = all_cnn_c("cifar10").eval(), torch.rand(2, 3, 32, 32)
    file = tmp_path / "net.onnx"
    vp.export(network, file, images, open_axes="batch")
    sent = images.numpy().tobytes()
    answer = subprocess.run([program, file], input=sent, capture_output=True, check=True).stdout
    with torch.no_grad():
        expected = network(images)
    found = torch.frombuffer(bytearray(answer), dtype=torch.float32).reshape(2, 10)
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4)
