"""A run as one HTML page that needs nothing but itself."""

import os
import shlex
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, PackageLoader

from virtualpool.cascade.calibrating import Calibration
from virtualpool.cascade.times import Times
from virtualpool.files import write_text
from virtualpool.measure import Latency
from virtualpool.measure.unit import Unit
from virtualpool.report import plans, record, wording
from virtualpool.report.figures import figures
from virtualpool.report.record import Record
from virtualpool.search.frontier import Point

_NOTHING = "–"


def write(run_dir: Path | str, path: Path | str) -> None:
    """Writes the report of a run: one HTML file, without scripts, that asks no server for anything.

    An unfinished run gives a page of its results so far, which says so.

    Args:
        run_dir: the run's directory.
        path: the file to write, whole or not at all; links to models are relative to it.

    Raises:
        VirtualPoolError: there is no run in the directory, or one of its files is broken.
    """
    write_text(path, render(record.read(run_dir), Path(path)))


def render(run: Record, path: Path) -> str:
    """The page of a run, as it will lie at `path`."""
    pages = Environment(
        loader=PackageLoader("virtualpool.report", "."),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return pages.get_template("page.html.jinja").render(_content(run, path))


def _content(run: Record, path: Path) -> dict[str, Any]:
    unit = run.unit
    said = run.claim
    setting = str(run.points[0].latency.setting) if run.points else None
    return {
        "model": run.settings.get("model") or run.config.get("model"),
        "headline": said.headline,
        "headline_model": said.point and _label(said.point.name),
        "summary": said.summary,
        "unfinished": None if run.finished else _progress(run),
        "tiles": _tiles(run, said.point, unit),
        "unit": unit,
        "setting": setting,
        "batch": run.points[0].latency.setting.batch if run.points else None,
        "metrics": [*wording.measures(run.points).values()],
        "models": [_model(run, point, said.point, unit, path) for point in run.points],
        "energy_how": _energy_how(run),
        "energy_missing": run.points[0].missing.get("energy") if run.points else None,
        "half_resolution_missing": run.points[0].missing.get("half_resolution")
        if run.points
        else None,
        "comparison": _comparison(run, unit, path),
        "noise": wording.noise(run.points),
        "plans": run.plans and plans.table(run.plans, unit),
        "cascades": [_cascade(name, *rule) for name, rule in run.cascades.items()],
        "fusing": _fusing(run),
        "pictures": run.pictures,
        "rounds": [_round(run, index, unit) for index in range(1, len(run.rounds) + 1)],
        "code": _code(run, said.point),
        "command": _command(run),
        "facts": _facts(run, setting),
        "version": metadata.version("virtualpool"),
        "directory": str(run.directory),
    } | figures(run, said.point, unit)


def _tiles(run: Record, picked: Point | None, unit: Unit) -> list[dict[str, str]]:
    if picked is None:
        return []
    original = run.points[0]
    sites = f"{len(picked.plan.sites)} of {len(run.network_order)}"
    triples = [
        (unit.name, unit.score(picked.accuracy), f"{unit.score(original.accuracy)} before"),
        (
            "latency",
            wording.milliseconds(picked.latency.median_ms),
            f"{wording.milliseconds(picked.baseline.median_ms)} before",
        ),
        (
            "MACs for one image",
            wording.millions(picked.macs),
            f"{wording.millions(original.macs)} before",
        ),
        ("sites pooled", sites, f"after {_label(picked.name)}"),
    ]
    return [{"name": name, "value": value, "beside": beside} for name, value, beside in triples]


def _model(
    run: Record, point: Point, picked: Point | None, unit: Unit, path: Path
) -> dict[str, Any]:
    assert run.frontier is not None
    file = None if point.weights is None else run.directory / point.weights
    metrics = [point.metrics.get(name) for name in wording.measures(run.points)]
    is_original = point.weights is None
    return {
        "name": _label(point.name),
        "sites": point.pooled,
        "accuracy": unit.number(point.accuracy),
        "error": unit.plus_minus(point.standard_error).strip(),
        "metrics": [_NOTHING if value is None else unit.number(value) for value in metrics],
        "drop": _NOTHING if is_original else unit.number(point.drop),
        "drop_error": "" if is_original else unit.plus_minus(point.drop_standard_error).strip(),
        "unmodified": wording.milliseconds(point.baseline.median_ms),
        "spread": wording.quartiles(point.baseline),
        "forms": [_form(point, latency) for latency in _forms(point)],
        "energy": _energy(point),
        "macs": wording.millions(point.macs),
        "macs_ratio": f"{point.macs / run.points[0].macs:.0%}",
        "file_name": file and file.name,
        "href": file and quote(Path(os.path.relpath(file, path.parent)).as_posix()),
        "pareto": point.name in [better.name for better in run.frontier.pareto],
        "picked": point is picked,
    }


def _forms(point: Point) -> list[Latency | None]:
    """Unfused, fused, half resolution; a time from before there was fusing is unfused."""
    is_old = point.weights is not None and point.unfused is None
    return [point.latency if is_old else point.unfused, point.fused, point.half_resolution]


def _form(point: Point, latency: Latency | None) -> dict[str, Any]:
    speedup = point.speedup_of(latency)
    if latency is None or speedup is None:
        return {"speedup": _NOTHING, "range": "", "latency": "", "kept": False}
    return {
        "speedup": f"{speedup.median:.2f}×",
        "range": f"{speedup.lower:.2f} to {speedup.upper:.2f}",
        "latency": wording.milliseconds(latency.median_ms),
        "kept": point.weights is not None and latency == point.latency,
    }


def _energy(point: Point) -> dict[str, str]:
    energy, share = point.energy, point.energy_share
    if energy is None or share is None:
        return {"joules": _NOTHING, "range": "", "share": ""}
    joules, quartiles = wording.joules(energy.samples_j)
    part = "" if point.weights is None else f"{share.median:.0%}"
    return {"joules": joules, "range": quartiles, "share": part}


def _energy_how(run: Record) -> str | None:
    energy = run.points[0].energy if run.points else None
    return energy and f"{energy.how}; {energy.watts:.3g} W for the original"


def _comparison(run: Record, unit: Unit, path: Path) -> dict[str, Any] | None:
    """The original on smaller images, if the run was asked for that and has rounds to compare."""
    frontier = run.frontier
    if frontier is None or not (frontier.smaller or frontier.missing) or not frontier.points[1:]:
        return None
    return {
        "said": wording.beside_smaller(frontier),
        "models": [
            _model(run, point, None, unit, path) | {"form": _form(point, point.latency)}
            for point in frontier.smaller
        ],
        "missing": {_label(name): reason for name, reason in frontier.missing.items()},
    }


def _cascade(name: str, rule: Calibration, times: Sequence[Times]) -> dict[str, Any]:
    answered = rule.outcome.answered
    return {
        "name": name,
        "promised": f"{rule.promised:.2%}" + ("" if rule.score == "accuracy" else f" {rule.score}"),
        "confidence": f"{rule.confidence:.0%}",
        "labelled": rule.labelled,
        "images": f"{rule.outcome.images:,}",
        "answered": f"{answered:.0%}",
        "drop": f"{rule.outcome.drop:.2%}",
        "times": [
            {
                "images": each.images,
                "original": wording.milliseconds(each.slow.median_ms),
                "fast": wording.milliseconds(each.fast.median_ms),
                "expected": wording.milliseconds(each.expected_ms(answered)),
                "worst": wording.milliseconds(each.worst_ms),
                "speedup": f"{each.speedup(answered):.2f}×",
            }
            for each in times
        ],
    }


def _fusing(run: Record) -> list[dict[str, Any]]:
    """Of each model the maps still interpolated, or why it is unfused."""
    found = []
    for point in run.points:
        report = run.fusing.get(point.name)
        lines = list(report.remaining) if report else []
        if report and not point.is_fused:
            lines.insert(0, wording.unfused(point))
        if report and lines:
            found.append({"name": _label(point.name), "summary": report.summary, "lines": lines})
    return found


def _round(run: Record, index: int, unit: Unit) -> dict[str, Any]:
    point = next((p for p in run.points if p.name == f"round-{index:02d}"), None)
    records = run.training[index - 1]
    before = next((line["accuracy"] for line in records if "accuracy" in line), None)
    return {
        "index": index,
        "added": run.rounds[index - 1],
        "images": _images(run, index),
        "learning_rate": _of_round(run.config.get("learning_rates"), index),
        "epochs": _of_round(run.config.get("epochs"), index),
        "before": _NOTHING if before is None else unit.number(before),
        "after": _NOTHING if point is None else unit.number(point.accuracy),
        "state": _state(run, index, point),
    }


def _state(run: Record, index: int, point: Point | None) -> str:
    if point is not None:
        return "over the limit, the last one" if point.over_limit else "done"
    if steps := [line["step"] for line in run.training[index - 1] if "step" in line]:
        return f"fine-tuned for {max(steps):,} steps so far"
    return "left out" if run.rounds_finished else "to come"


def _images(run: Record, index: int) -> str:
    scale = run.plans.kept[index - 1].draft.image_scale if run.plans else 1
    return "" if scale == 1 else f"images at scale {scale:g}"


def _of_round(values: list[float | None] | float | None, index: int) -> str:
    each = values if isinstance(values, list) else [values] * index
    value = each[index - 1] if index <= len(each) else None
    return _NOTHING if value is None else f"{value:g}"


def _progress(run: Record) -> str:
    done = len(run.points) - 1
    if run.rounds_finished:
        stage = "its rounds are done, its comparison with smaller images is not"
    elif run.rounds:
        stage = f"{max(0, done)} of {len(run.rounds)} rounds are done"
    elif run.sensitivity:
        sites = f"{len(run.sensitivity.sites)} of {len(run.network_order)}"
        stage = f"the sensitivity of {sites} sites is known"
    else:
        stage = "it has just begun"
    return f"This run is not finished: {stage}. The command at the end of the page goes on with it."


def _code(run: Record, picked: Point | None) -> str | None:
    if picked is None or picked.weights is None:
        return None
    file = (run.directory / picked.weights).as_posix()
    return (
        "import virtualpool\n\n"
        "# your_model: the network as it was, built as always; its weights do not matter\n"
        f"model = virtualpool.load(your_model, {file!r}).eval()"
    )


def _command(run: Record) -> list[str]:
    """The words of the command, quoted for a shell; none if the run had no command."""
    program, *arguments = run.environment.get("command") or [""]
    return [shlex.quote(each) for each in (Path(program).name, *arguments)] if program else []


def _facts(run: Record, setting: str | None) -> list[tuple[str, str]]:
    """The settings of the run and where it ran, but for those elsewhere on the page."""
    shown_elsewhere = ("command", "seed")
    asked = run.settings | {
        "seed": run.config.get("seed"),
        "largest drop": run.config.get("max_drop"),
        "timed on": setting,
    }
    ran = {name: value for name, value in run.environment.items() if name not in shown_elsewhere}
    return [
        (name.replace("_", " "), _text(value))
        for name, value in (asked | ran).items()
        if value not in (None, "")
    ]


def _text(value: Any) -> str:
    if isinstance(value, dict):
        known = {name: item for name, item in value.items() if item is not None}
        return ", ".join(f"{name.replace('_', ' ')} {_text(item)}" for name, item in known.items())
    if isinstance(value, list | tuple):
        return " ".join(_text(item) for item in value)
    return f"{value:g}" if isinstance(value, float) else str(value)


def _label(name: str) -> str:
    return wording.title(name).lower()
