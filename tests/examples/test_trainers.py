"""The examples with trainers of other libraries: the real packages, where they are installed."""

import runpy
from pathlib import Path

import pytest

from virtualpool.search import Frontier

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.mark.filterwarnings("ignore")  # those packages warn of their own affairs
@pytest.mark.parametrize(
    ("package", "example"),
    [("lightning", "lightning_finetune"), ("transformers", "hugging_face_trainer")],
)
def test_it_trains_and_goes_on(package: str, example: str, tmp_path: Path) -> None:
    pytest.importorskip(package)
    main = runpy.run_path(str(EXAMPLES / f"{example}.py"))["main"]
    main(str(tmp_path))
    assert len(Frontier.load(tmp_path / "frontier.json").points) == 2
    file = tmp_path / "round-01" / "model.safetensors"
    written = file.stat().st_mtime_ns
    main(str(tmp_path))  # nothing is left to train
    assert file.stat().st_mtime_ns == written
