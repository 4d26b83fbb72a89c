import pytest

from virtualpool import VirtualPoolError
from virtualpool.measure.energy.jetson import jetson

AGX_ORIN = {
    "VDD_GPU_SOC": (5000, 2000),
    "VDD_CPU_CV": (5000, 400),
    "VIN_SYS_5V0": (5000, 800),
    "NC": (0, 0),
    "VDDQ_VDD2_1V8AO": (4000, 250),
}
ORIN_NX = {"VDD_IN": (5000, 3000), "VDD_CPU_GPU_CV": (5000, 1000), "VDD_SOC": (5000, 500)}
FOUR = {"VDD_GPU_SOC": 10.0, "VDD_CPU_CV": 2.0, "VIN_SYS_5V0": 4.0, "VDDQ_VDD2_1V8AO": 1.0}


@pytest.mark.parametrize(
    ("board", "asked", "watts"),
    [
        (AGX_ORIN, [], FOUR),
        (AGX_ORIN, ["VDD_GPU_SOC"], {"VDD_GPU_SOC": 10.0}),
        (AGX_ORIN, ["VDD_CPU_CV", "VDD_GPU_SOC"], {"VDD_CPU_CV": 2.0, "VDD_GPU_SOC": 10.0}),
        (ORIN_NX, [], {"VDD_IN": 15.0}),  # the other two are in it
        (ORIN_NX, ["VDD_SOC"], {"VDD_SOC": 2.5}),
    ],
)
def test_joules_of_the_rails(ina3221, machine, board, asked, watts):
    meter = jetson(asked, ina3221(**board))
    assert meter.sensor.gives == "watts"
    found = meter.joules(lambda: machine.spend(3.0, watts=0))
    assert found == pytest.approx({rail: 3.0 * power for rail, power in watts.items()})


def test_a_rail_that_is_not_there(ina3221):
    with pytest.raises(VirtualPoolError, match=r"no rail GPU; this board has VDD_IN, VDD_CPU_GPU"):
        jetson(["VDD_IN", "GPU"], ina3221(**ORIN_NX))


@pytest.mark.parametrize("rails", [{}, {"NC": (0, 0)}])
def test_no_rails(ina3221, rails):
    root = ina3221(**rails)
    with pytest.raises(VirtualPoolError, match=f"{root} has no power rails; only Jetson"):
        jetson(root=root)


def test_a_rail_that_cannot_be_read(ina3221):
    root = ina3221(**ORIN_NX)
    for path in root.glob("*/hwmon/hwmon*/in1_input"):
        path.unlink()
    with pytest.raises(VirtualPoolError, match="in1_input cannot be read"):
        jetson(root=root)
