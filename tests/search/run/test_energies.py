import json

import pytest
from tests.search.meter import Meter

import virtualpool as vp
from virtualpool import VirtualPoolError
from virtualpool.measure import Energy, Setting, Share
from virtualpool.measure.energy.measuring import EnergyOptions
from virtualpool.measure.latency import LatencyOptions
from virtualpool.search.frontier import frontier as frontiers
from virtualpool.search.run.energies import Energies
from virtualpool.search.run.models import Models
from virtualpool.search.run.run import Run

TIMING: LatencyOptions = {"repeats": 1, "threads": 1, "batch": 2}


def options(meter) -> EnergyOptions:
    return {"meter": meter, "repeats": 2, "duration_s": 0.002}


@pytest.fixture
def models(network, images, tmp_path):
    """The models of a run whose first round is tuned, measured by a meter."""

    def models(meter: Meter) -> Models:
        run = Run(tmp_path)
        made = Models(run, network, images[:1], TIMING, options(meter))
        vp.save(vp.apply(network, images, ["2", "5"]), made.path(1))
        return made

    return models


def test_a_round_is_measured_beside_the_original_once(models, tmp_path):
    meter = Meter()
    made = models(meter)
    original, first = made.energies(0), made.energies(1)
    assert original.kept == original.unmodified
    assert first.kept is not None
    assert first.unmodified is not None
    assert first.kept.setting == first.unmodified.setting
    assert first.kept.setting.batch == 2  # as it is timed
    assert len(first.kept.duration_s) == 2
    assert (tmp_path / "round-01" / "energy.json").exists()
    meter.is_there = False
    assert made.energies(1) == first


def test_without_a_sensor_that_is_said_once_and_the_search_goes_on(models, tmp_path):
    meter = Meter()
    meter.is_there = False
    made = models(meter)
    assert made.energies(0) == made.energies(1) == Energies(missing="The meter is gone.")
    log = (tmp_path / "log.txt").read_text()
    assert log.count("round-00: energy is not measured: The meter is gone.") == 1
    assert "round-01" not in log


def test_no_energy_where_it_is_not_asked_for(network, images, tmp_path):
    assert Models(Run(tmp_path), network, images, TIMING).energies(1) == Energies()
    assert not list(tmp_path.glob("**/energy.json"))


SETTING = Setting("cpu", "A processor", "float32", 1, 1, "eager", True, "2.9.0")
ENERGY = Energy({"total": (4.0, 5.0)}, (1.0, 1.0), (10, 10), None, Meter.sensor, SETTING)


@pytest.mark.parametrize(
    "energies", [Energies(), Energies(missing="no sensor"), Energies(ENERGY, ENERGY)]
)
def test_json_round_trip(energies):
    assert Energies.from_json(json.loads(json.dumps(energies.to_json()))) == energies


@pytest.mark.parametrize(
    "value", [None, {"missing": 1}, {"unmodified": {"total": 4.0}, "kept": None, "missing": None}]
)
def test_what_are_no_energies_is_refused(value):
    with pytest.raises(VirtualPoolError, match="Not an energ"):
        Energies.from_json(value)


def test_a_search_with_energy(network, images, tmp_path):
    frontier = vp.search(
        network,
        images[:1],
        evaluate=lambda model: 0.5,
        rounds=[["2"]],
        run_dir=tmp_path,
        latency=TIMING,
        energy=options(Meter()),
    )
    for point in frontier.points:
        assert point.energy is not None
        assert f"{point.energy.median_j:.3g} J per image" in str(point)
    shares = [point.energy_share for point in frontier.points]
    assert None not in shares
    assert shares[0] == Share(1, 1, 1)
    assert frontiers.Frontier.load(tmp_path / "frontier.json") == frontier
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["energy"]["meter"] == {"name": "a meter", "gives": "joules", "interval": 1e-4}


def test_wrong_options_of_energy(network, images, tmp_path):
    with pytest.raises(VirtualPoolError, match="energy has no option watts; it takes meter, idle"):
        vp.search(
            network,
            images[:1],
            evaluate=lambda model: 0.5,
            run_dir=tmp_path,
            energy={"watts": 3},  # pyright: ignore[reportArgumentType]
        )


def test_names_of_0_1_are_still_read():
    value = json.loads(
        json.dumps(Energies(ENERGY, ENERGY).to_json()).replace("duration_s", "seconds")
    )
    assert Energies.from_json(value) == Energies(ENERGY, ENERGY)
    value["kept"]["images"] = [1]
    with pytest.raises(VirtualPoolError, match="as many joules of each rail as blocks"):
        Energies.from_json(value)
