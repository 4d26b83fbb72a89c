"""The commands, in this process."""

import sys
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
import torch

import virtualpool
from virtualpool.cli.network import load_network
from virtualpool.fuse import report_of

Run = Callable[..., Any]


def test_sites_lists_every_convolution(run: Run, as_json: Run, network: Path) -> None:
    found = as_json("sites", f"{network}:tiny", "--size", "16")
    assert [(site["name"], site["eligible"], site["before_pool"]) for site in found] == [
        ("0", True, True),
        ("3", True, False),
        ("5", True, True),
    ]
    table = run("sites", f"{network}:tiny", "--size", "16").stdout
    assert "3 of 3 convolutions can be pooled" in table
    small = run("sites", f"{network}:tiny", "--input-shape", "1,3,2,16").stdout
    assert "no: its output has one row" in small


def test_sites_says_how_much_of_the_work_they_do(run: Run, network: Path) -> None:
    # A convolution of 3 * 3 * 9 * 256 multiply-accumulates, and a linear layer of 768 * 3.
    said = run("sites", f"{network}:of_one_size", "--size", "16").stdout
    assert "1 of 1 convolutions can be pooled; they do 90% of the 0 million MACs of all" in said


def test_apply_saves_what_it_says(as_json: Run, network: Path, tmp_path: Path) -> None:
    path = tmp_path / "out" / "pooled.safetensors"
    result = as_json("apply", f"{network}:tiny", "0", "3", "--output", path, "--size", "16")
    assert result["pooled"] == ["0", "3"]
    assert result["macs"]["before"] > result["macs"]["after"]
    loaded = virtualpool.load(load_network(f"{network}:tiny").module, path)
    assert virtualpool.plan_of(loaded).names == ["0", "3"]
    report = report_of(loaded)
    assert report is not None
    assert result["fusing"] == report.to_json()


def test_apply_refuses_a_place_before_it_reads_images(
    refused: Callable[..., str], network: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    path = tmp_path / "file" / "fast.safetensors"
    said = refused("apply", f"{network}:tiny", "0", "--images", tmp_path, "--output", path)
    assert "fast.safetensors: cannot be written (Not a directory)" in said


def test_padded_borders(as_json: Run, network: Path, tmp_path: Path) -> None:
    path, usual = tmp_path / "padded.safetensors", ["--size", "16", "--border", "padded"]
    result = as_json("apply", f"{network}:tiny", "all", "--output", path, *usual)
    loaded = virtualpool.load(load_network(f"{network}:tiny").module, path)
    assert result["border"] == virtualpool.plan_of(loaded).border == "padded"
    timing = ["--repeats", "1", "--threads", "1", "--device", "cpu"]
    assert "all sites, fused" in as_json("bench", f"{network}:tiny", "--all", *usual, *timing)


@pytest.mark.parametrize("sites", [[], ["0", "3"]])
def test_images_at_another_scale(
    sites: list[str], run: Run, as_json: Run, network: Path, tmp_path: Path
) -> None:
    path, net = tmp_path / "scaled.safetensors", f"{network}:tiny"
    scaled = ["--image-scale", "0.75", "--size", "16"]
    result = as_json("apply", net, *sites, "--output", path, *scaled)
    assert (result["pooled"], result["image_scale"]) == (sites, 0.75)
    assert result["macs"]["after"] < 0.6 * result["macs"]["before"]
    loaded = virtualpool.load(load_network(net).module, path)
    assert virtualpool.plan_of(loaded).image_scale == 0.75
    timing = ["--repeats", "1", "--threads", "1", "--device", "cpu"]
    found = as_json("bench", net, path, *scaled, *timing, *(["--all"] if sites else []))
    alone = found["unmodified, images at scale 0.75"]["macs"]
    name = f"{path}, fused" if sites else str(path)
    assert found[name]["macs"] == result["macs"]["after"]
    assert (alone == result["macs"]["after"]) == (not sites)
    assert ("all sites, images at scale 0.75, fused" in found) == bool(sites)
    report = run("export", net, path, "--output", tmp_path / "net.pt2", "--no-latency")
    assert "takes images of 0.75 of the side" in report.stdout
    assert "(1x3x12x12)" in report.stdout


def test_a_scale_that_cannot_be_is_refused(
    refused: Run, run: Run, network: Path, tmp_path: Path
) -> None:
    path, net = tmp_path / "scaled.safetensors", f"{network}:tiny"
    asked = ["apply", net, "--output", path, "--size", "16"]
    assert "image_scale is -1.0" in refused(*asked, "--image-scale", "-1")
    assert run(*asked).exit_code == 2
    assert "Missing argument" in run(*asked).stderr


def test_apply_says_what_it_changed(run: Run, network: Path, tmp_path: Path) -> None:
    path = tmp_path / "pooled.safetensors"
    result = run("apply", f"{network}:tiny", "all", "--output", path, "--size", "16")
    assert "pooled 3 sites (0, 3, 5)" in result.stderr
    assert "3 sites fused; 0 maps are still interpolated" in result.stderr
    assert f"Saved {path}" in result.stdout


def test_apply_reconstructs_with_the_images_of_a_folder(
    run: Run, as_json: Run, network: Path, images: Path, tmp_path: Path
) -> None:
    path = tmp_path / "fast.safetensors"
    asked = ["apply", f"{network}:tiny", "all", "--size", "16", "--images", images]
    found = as_json(*asked, "--output", path, "--images-count", "24")
    solved = found["reconstruction"]
    assert (solved["images"], solved["held_out"], solved["skipped"]) == (24, 6, [])
    before, after = (solved["agreement"][when] for when in ("before", "after"))
    assert after["cosine"] > before["cosine"]
    assert 0 <= before["top1"] <= 1
    module = load_network(f"{network}:tiny").module
    fast = virtualpool.load(module, path)
    assert not torch.equal(fast.get_parameter("3.weight"), module.get_parameter("3.weight"))

    result = run(*asked)
    assert result.exit_code == 0, result.output
    for said in (
        "Agreement with the original on 7 held-out images",
        "top-1",
        "cosine",
        "Nothing is saved",
    ):
        assert said in result.stdout


def test_apply_refuses_images_that_do_not_fit(
    run: Run, refused: Run, network: Path, images: Path, tmp_path: Path
) -> None:
    path = tmp_path / "fast.safetensors"
    tiny = f"{network}:tiny"
    asked = ["all", "--size", "16", "--output", path, "--images"]
    assert "no such folder" in refused("apply", tiny, *asked, tmp_path / "none")
    assert "no image in it" in refused("apply", tiny, *asked, tmp_path)
    assert "give the side of the model's images" in refused(
        "apply", tiny, "all", "--images", images
    )
    assert not path.exists()
    virtualpool.save(
        virtualpool.apply(load_network(tiny).module, torch.rand(1, 3, 16, 16), ["3"]), path
    )
    said = refused("apply", tiny, "0", "--size", "16", "--weights", path, "--images", images)
    assert "has 3 pooled already" in said
    assert run("apply", tiny, "all").exit_code == 2
    assert run("apply", tiny, "all", "--images", images, "--input-shape", "1,3,8,9").exit_code == 2


def test_apply_on_a_pooled_file_goes_on_from_it(
    as_json: Run, network: Path, tmp_path: Path
) -> None:
    first, second = tmp_path / "first.safetensors", tmp_path / "second.safetensors"
    as_json("apply", f"{network}:tiny", "3", "--output", first, "--size", "16")
    options = ("--weights", first, "--output", second, "--size", "16")
    assert as_json("apply", f"{network}:tiny", "0", *options)["pooled"] == ["3", "0"]


def test_unknown_sites_are_refused_with_the_nearest(
    refused: Run, network: Path, tmp_path: Path
) -> None:
    path = tmp_path / "pooled.safetensors"
    said = refused("apply", "virtualpool:all_cnn_c", "conv.2", "--output", path)
    assert "'conv.2'" in said
    assert "convs.2" in said
    assert not path.exists()


def test_sensitivity_ranks_goes_on_and_refuses_other_questions(
    run: Run, as_json: Run, refused: Run, network: Path, images: Path, tmp_path: Path
) -> None:
    path = tmp_path / "sensitivity.json"
    options = ["--data", images, "--size", "16", "--workers", "0", "--device", "cpu"]
    asked = ["sensitivity", f"{network}:tiny", *options, "--output", path]
    found = as_json(*asked)
    assert sorted(site["name"] for site in found["sites"]) == ["0", "3", "5"]
    assert [site["drop"] for site in found["sites"]] == sorted(
        site["drop"] for site in found["sites"]
    )
    assert found["baseline"]["samples"] == 12
    assert "per_sample" not in found["baseline"]
    written = path.read_bytes()
    shown = run(*asked).stdout
    assert path.read_bytes() == written
    assert "on 12 images; each site pooled alone" in shown
    other = ["sensitivity", f"{network}:loud", *options, "--output", path]
    assert as_json(*other) == found  # the same network by another name
    said = refused("sensitivity", f"{network}:normalised", *options, "--output", path)
    assert "another model" in said


@pytest.mark.parametrize(
    ("options", "network_function"),
    [
        (["--no-labels"], "tiny"),
        (["--recalibrate"], "normalised"),
        (["--recoverable", "--no-labels"], "tiny"),
    ],
)
def test_other_ways_to_find_the_sensitivity(
    as_json: Run, network: Path, images: Path, options: list[str], network_function: str
) -> None:
    usual = ["--data", images, "--size", "16", "--workers", "0", "--subset", "6", "--device", "cpu"]
    found = as_json("sensitivity", f"{network}:{network_function}", *usual, *options)
    assert found["baseline"]["samples"] == 6
    if "--no-labels" in options:
        assert found["baseline"]["value"] == 1
        disagreeing = [6 * site["drop"] for site in found["sites"]]
        assert disagreeing == [pytest.approx(count) for count in map(round, disagreeing)]
        assert all(0 <= count <= 6 for count in disagreeing)
        key = "recoverable_drop" if "--recoverable" in options else "drop"
        ranked = [site[key] for site in found["sites"]]
        assert ranked == sorted(ranked)
    else:
        assert "recalibrated" in found["method"]


def test_bench_times_side_by_side_and_says_how(
    run: Run, as_json: Run, network: Path, tmp_path: Path
) -> None:
    path = tmp_path / "pooled.safetensors"
    as_json("apply", f"{network}:tiny", "3", "--output", path, "--size", "16")
    timing = ["--repeats", "3", "--timing-batch", "2", "--threads", "1", "--device", "cpu"]
    asked = ["bench", f"{network}:tiny", path, "--all", "--size", "16", *timing]
    found = as_json(*asked)
    assert list(found) == [
        "unmodified", f"{path}, unfused", f"{path}, fused",
        "all sites, unfused", "all sites, fused", "unmodified, half resolution",
    ]  # fmt: skip
    everything, half = found["all sites, fused"], found["unmodified, half resolution"]
    assert everything["macs"] < found[f"{path}, fused"]["macs"] < found["unmodified"]["macs"]
    assert half["macs"] == found["unmodified"]["macs"] / 4
    assert everything["fusing"]["fused"] == ["0", "3", "5"]
    assert {name for name in found if "fusing" in found[name]} == {
        "all sites, fused", f"{path}, fused",
    }  # fmt: skip
    setting = everything["latency"]["setting"]
    assert (setting["batch"], setting["threads"], setting["device"]) == (2, 1, "cpu")
    assert half["latency"]["setting"] == setting
    assert len(everything["latency"]["samples_ms"]) == 3
    shown = run(*asked).stdout
    assert "3 samples each, interleaved; cpu " in shown
    assert "float32, batch 2, 1 thread, eager, channels_last" in shown


def test_bench_says_what_it_leaves_out_and_what_is_still_interpolated(
    run: Run, network: Path
) -> None:
    asked = ["--all", "--repeats", "1", "--threads", "1", "--device", "cpu", "--size", "16"]
    result = run("bench", f"{network}:of_one_size", *asked)
    assert result.exit_code == 0, result.output
    assert "half resolution, is not timed: Sequential does not run on" in result.stderr
    assert "all sites: 0: 2 needs it in full" in result.stderr
    assert "half" not in result.stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["sites", "nowhere.py:build"], "nowhere.py: no such file"),
        (["sites", "FILE:tiny", "--input-shape", "1,3,8"], "--input-shape 1,3,8"),
        (["bench", "FILE:tiny", "nowhere.safetensors"], "nowhere.safetensors"),
        (["bench", "FILE:tiny", "--weights", "POOLED"], "a network with 1 pooled site,"),
        (["bench", "FILE:tiny", "--device", "cuda:77"], "--device cuda:77"),
        (
            ["sensitivity", "FILE:tiny", "--data", "nowhere", "--size", "16"],
            "nowhere: no such folder",
        ),
        (["sensitivity", "FILE:tiny", "--data", "IMAGES"], "by --size"),
        (
            ["sensitivity", "FILE:tiny", "--data", "IMAGES/train", "--size", "16"],
            "no test, val, valid or validation folder",
        ),
        (
            ["sensitivity", "virtualpool:all_cnn_c", "--data", "IMAGES"],
            "10 outputs, the data 3 classes",
        ),
        (
            ["sensitivity", "FILE:tiny", "--data", "IMAGES", "--size", "16", "--recalibrate"],
            "batch norm",
        ),
        (["report", "NOWHERE"], "no run lives here"),
        (["pick", "NOWHERE", "--max-drop", "0.1"], "no run lives here"),
    ],
)
def test_misuse_is_said_in_one_line(
    refused: Run, network: Path, images: Path, tmp_path: Path, arguments: list[str], said: str
) -> None:
    pooled = tmp_path / "pooled.safetensors"
    tiny = load_network(f"{network}:tiny").module
    virtualpool.save(virtualpool.apply(tiny, torch.rand(1, 3, 16, 16), ["3"]), pooled)
    stand_ins = {"FILE": network, "IMAGES": images, "NOWHERE": tmp_path / "nowhere"}
    stand_ins["POOLED"] = pooled
    for name, path in stand_ins.items():
        arguments = [part.replace(name, str(path)) for part in arguments]
    assert said in refused(*arguments)


@pytest.mark.parametrize(
    "arguments",
    [
        ["no-such-command"],
        ["sites"],
        ["sites", "virtualpool:all_cnn_c", "--size", "small"],
        ["sites", "virtualpool:all_cnn_c", "--size", "0"],
        ["bench", "virtualpool:all_cnn_c", "--mode", "fast"],
        ["tune", "virtualpool:all_cnn_c", "--data", "sample:cifar10"],
        ["pick", "run"],
    ],
)
def test_wrong_usage_has_its_own_exit_code(run: Run, arguments: list[str]) -> None:
    result = run(*arguments)
    assert result.exit_code == 2
    assert result.stdout == ""


def test_an_unexpected_error_is_one_line_and_a_traceback_on_demand(
    run: Run, refused: Run, network: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: Any) -> None:
        raise ZeroDivisionError("a mistake\nof ours")

    # The package has a function where it has this module, so the name alone does not lead there.
    monkeypatch.setattr(sys.modules["virtualpool.sites"], "sites", fails)
    said = refused("sites", f"{network}:tiny")
    assert said == (
        "error: unexpected: ZeroDivisionError: a mistake of ours; run it as virtualpool --debug ..."
    )
    result = run("--debug", "sites", f"{network}:tiny")
    assert result.exit_code == 1
    assert "Traceback" in result.stderr
    assert "ZeroDivisionError" in result.stderr


def test_version(run: Run) -> None:
    from importlib.metadata import version

    assert run("--version").stdout == f"virtualpool {version('virtualpool')}\n"


def test_help_tells_the_exit_codes(run: Run) -> None:
    result = run("--help")
    assert result.exit_code == 0
    assert "130 interrupted" in " ".join(result.stdout.split())


@pytest.mark.parametrize("name", ["a.pt", "a.pth", "a", "a.safetensors.pt", "a.onnx"])
def test_apply_writes_no_safetensors_under_another_name(run: Run, tmp_path: Path, name) -> None:
    path = tmp_path / name
    result = run("apply", "virtualpool:all_cnn_c", "all", "--output", path)
    assert result.exit_code == 2
    assert "ends in" in result.stderr
    assert ".safetensors" in result.stderr
    assert not path.exists()


def test_doctor_names_what_is_here_and_the_next_step(
    as_json: Run, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    requires = ["rich>=13", "torch>=2; extra == 'onnx'", "no_such>=1; extra == 'coreml'"]
    monkeypatch.setattr(metadata, "requires", lambda _: [*requires, "ruff; extra == 'dev'"])
    found = {row["subject"]: (row["found"], row["hint"]) for row in as_json("doctor")}
    assert found["torch"] == (metadata.version("torch"), "")
    assert found["extra onnx"] == (f"torch {metadata.version('torch')}", "")
    assert found["extra coreml"] == ("not installed", "pip install 'virtualpool[coreml]'")
    assert {"processor", "GPU", "C++ compiler", "energy sensor"} <= found.keys()
    assert "extra dev" not in found
    shown = run("doctor").stdout
    assert "not installed\n                 pip install 'virtualpool[coreml]'" in "\n".join(
        line.rstrip() for line in shown.splitlines()
    )
    assert max(len(line.rstrip()) for line in shown.splitlines()) <= 80
