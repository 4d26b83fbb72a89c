import pytest

from virtualpool import VirtualPoolError
from virtualpool.measure.energy import own
from virtualpool.measure.energy.own import from_command, from_file


@pytest.mark.parametrize(
    ("unit", "number", "joules"), [("W", 12.5, 50), ("mW", 2500, 10), ("uW", 1e6, 4)]
)
def test_watts_of_a_file_are_integrated(tmp_path, machine, unit, number, joules):
    (tmp_path / "meter").write_text(f" {number}\n")
    meter = from_file(tmp_path / "meter", unit)
    assert meter.sensor.gives == "watts"
    assert meter.joules(lambda: machine.spend(4.0, 0)) == pytest.approx({"total": joules})


@pytest.mark.parametrize(
    ("unit", "more", "joules"),
    [("J", 12, 12), ("mJ", 12, 0.012), ("uJ", 12, 12e-6), ("Wh", 0.5, 1800), ("kWh", 0.01, 36000)],
)
def test_an_energy_of_a_file_is_counted(tmp_path, unit, more, joules):
    path = tmp_path / "meter"
    path.write_text("1000")
    meter = from_file(path, unit)
    assert meter.sensor.gives == "joules"
    found = meter.joules(lambda: path.write_text(f"{1000 + more}"))
    assert found == pytest.approx({"total": joules})


def test_a_command_is_asked_anew(tmp_path):
    path = tmp_path / "a meter"
    path.write_text("7")
    meter = from_command(f"cat '{path}'", "J", interval=2.0)
    assert meter.joules(lambda: path.write_text("19")) == {"total": 12.0}
    assert meter.sensor.interval == 2.0


def test_an_energy_that_shrinks_is_refused(tmp_path):
    path = tmp_path / "meter"
    path.write_text("40")
    with pytest.raises(VirtualPoolError, match=r"from 40 back to 30.*gives watts"):
        from_file(path, "J").joules(lambda: path.write_text("30"))


@pytest.mark.parametrize("text", ["", "12 W", "on", "nan", "inf", "1\n2"])
def test_what_is_no_number(tmp_path, text):
    (tmp_path / "meter").write_text(text)
    with pytest.raises(VirtualPoolError, match="meter: expected a number of W and nothing else"):
        from_file(tmp_path / "meter")


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("sh -c 'echo first >&2; echo no meter here >&2; exit 3'", "exit code 3 .no meter here"),
        ("no-such-program", "does not run"),
        ("echo 'not closed", "does not run"),
        ("sleep 60", "timed out"),
        ("echo on", "expected a number of W"),
    ],
)
def test_commands_that_fail(monkeypatch, command, said):
    monkeypatch.setattr(own, "_PATIENCE", 0.1 if "sleep" in command else 60)
    with pytest.raises(VirtualPoolError, match=said):
        from_command(command)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"unit": "V"}, "V is not known; give one of W, mW, uW, J"),
        ({"interval": 0.0}, "interval is 0.0"),
        ({"interval": float("nan")}, "interval is nan"),
    ],
)
def test_wrong_arguments(tmp_path, arguments, said):
    (tmp_path / "meter").write_text("1")
    with pytest.raises(VirtualPoolError, match=said):
        from_file(tmp_path / "meter", **arguments)


def test_a_file_that_cannot_be_read(tmp_path):
    with pytest.raises(VirtualPoolError, match="cannot be read"):
        from_file(tmp_path / "nowhere")
