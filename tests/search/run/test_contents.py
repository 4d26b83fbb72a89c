"""Each JSON file of a run is checked when it is read, whatever has become of it."""

import json
import random
import shutil
from contextlib import suppress
from pathlib import Path

import pytest
from tests.fuzzing import garbled, rewritten

from virtualpool import VirtualPoolError, report
from virtualpool.documents import SCHEMA
from virtualpool.report import record
from virtualpool.search.run import Run
from virtualpool.search.run.contents import read

GOLDEN = Path(__file__).parents[2] / "golden"
RUN = GOLDEN / "version-2" / "run"
FILES = sorted(path.relative_to(RUN).as_posix() for path in RUN.rglob("*.json"))


@pytest.fixture
def run(tmp_path):
    return Path(shutil.copytree(RUN, tmp_path / "run"))


@pytest.mark.parametrize("name", FILES)
def test_a_file_says_its_schema_and_may_hold_more(run, name):
    value = json.loads((run / name).read_text())
    assert value["schema"] == SCHEMA
    known = read(run, run / name)
    (run / name).write_text(json.dumps(value | {"added": {"later": [1]}}))
    if "content" in value or name.endswith(("config.json", "environment.json")):
        assert read(run, run / name) == known or read(run, run / name)["added"]
    else:
        assert read(run, run / name) == known


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("text", ["5", '{"schema": 2, "content": [[5]]}', '{"schema": 9}', "{"])
def test_a_file_that_holds_something_else_is_named(run, name, text):
    (run / name).write_text(text)
    with pytest.raises(VirtualPoolError, match=f"^{run / name}: "):
        read(run, run / name)


@pytest.mark.parametrize("version", [1, 2])
def test_a_run_of_each_version_is_read(version):
    found = record.read(GOLDEN / f"version-{version}" / "run")
    assert [point.plan.names for point in found.points] == [[], ["3"], ["3", "0"]]
    assert found.rounds == [["3"], ["0"]]
    assert found.fusing.keys() == {"round-01", "round-02"}
    assert found.frontier is not None
    assert found.frontier.half_resolution is not None
    Run(GOLDEN / f"version-{version}" / "run").check_files()


@pytest.mark.parametrize("folder", ["round-01", "round-02", "smaller-0.75", "smaller-0.5"])
def test_weights_that_are_gone_or_broken_are_named_at_once(run, folder):
    weights = run / folder / "model.safetensors"
    whole = weights.read_bytes()
    for content in (whole[:-1], whole[:50], b""):
        weights.write_bytes(content)
        with pytest.raises(VirtualPoolError, match=f"^{weights}: "):
            Run(run).check_files()
    weights.unlink()
    with pytest.raises(VirtualPoolError, match=f"^{weights}: is gone.*remove {run / folder} to"):
        Run(run).check_files()
    point = weights.with_name("point.json")
    for other in (None, "round-00/model.safetensors", "/etc/passwd"):
        point.write_text(json.dumps(json.loads(point.read_text()) | {"weights": other}))
        with pytest.raises(VirtualPoolError, match=f"^{point}: has its weights in"):
            Run(run).check_files()


@pytest.mark.parametrize("seed", range(40))
def test_whatever_becomes_of_a_file_it_is_refused_or_read(run, seed):
    rng = random.Random(seed)
    path = rng.choice(sorted(path for path in run.rglob("*") if path.is_file()))
    if path.suffix == ".json" and seed % 4:
        path.write_text(rewritten(json.loads(path.read_text()), rng))
    else:
        path.write_bytes(garbled(path.read_bytes(), rng))
    try:
        Run(run).check_files()
    except VirtualPoolError as error:
        assert str(error).startswith(f"{path}: ")  # noqa: PT017
    with suppress(VirtualPoolError):
        report.write(run, run / "report.html")
