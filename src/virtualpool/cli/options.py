"""The arguments and options that several commands share."""

from pathlib import Path
from typing import Annotated, Literal

import typer

DATA = "Data"
TIMING = "Timing"
ENERGY = "Energy"

Model = Annotated[
    str,
    typer.Argument(
        metavar="MODEL",
        help="torchvision:NAME, timm:NAME, hf:NAME, virtualpool:NAME or FILE.py:FUNCTION.",
    ),
]
Weights = Annotated[
    str | None,
    typer.Option(
        metavar="NAME|FILE",
        help="A name (DEFAULT, cifar10), random, or a file (FILE#KEY).",
    ),
]
Size = Annotated[
    int | None,
    typer.Option(min=1, metavar="PIXELS", help="Side of the square images that the network takes."),
]
InputShape = Annotated[
    str | None,
    typer.Option(metavar="N,C,H,W", help="Shape of the network's input, instead of --size."),
]
RunDirectory = Annotated[Path, typer.Argument(metavar="RUN_DIR", help="Directory of a run.")]
AsJson = Annotated[
    bool, typer.Option("--json", help="Print JSON, and nothing else, on standard output.")
]
Seed = Annotated[int, typer.Option(help="Seed of all random numbers.")]
Device = Annotated[
    str | None, typer.Option(help="Where to run, such as cpu or cuda; a GPU if there is one.")
]

Border = Annotated[
    Literal["exact", "padded"],
    typer.Option(
        help="Read zeros beside full maps, as the original does, or beside reduced maps, which "
        "is faster.",
    ),
]

ImageScale = Annotated[
    float,
    typer.Option(
        metavar="SCALE",
        help="Resize the images that the network is given, such as to 0.75 of their side.",
    ),
]

Data = Annotated[
    str,
    typer.Option(
        metavar="SOURCE",
        rich_help_panel=DATA,
        help="A folder {train,test}/CLASS/IMAGE, of VOC, of COCO, or {train,test}/NAME.jpg with "
        "{train,test}annot/NAME.png; sample:cifar10, torchvision:CIFAR10[:ROOT].",
    ),
]
Task = Annotated[
    Literal["classification", "detection", "segmentation"],
    typer.Option(
        rich_help_panel=DATA,
        metavar="TASK",
        help="classification, detection or segmentation.",
    ),
]
Ignore = Annotated[
    int,
    typer.Option(
        min=0, rich_help_panel=DATA, help="The number of pixels without a class in masks."
    ),
]
Metric = Annotated[
    Literal["voc", "voc2007", "coco"],
    typer.Option(
        rich_help_panel=DATA,
        metavar="METRIC",
        help="Mean average precision of detection: voc as VOC since 2010, voc2007 or coco.",
    ),
]
Resize = Annotated[
    int | None,
    typer.Option(
        min=1, rich_help_panel=DATA, help="Shorter side of the images before --size is cut out."
    ),
]
Mean = Annotated[
    tuple[float, float, float] | None,
    typer.Option(
        metavar="R G B",
        rich_help_panel=DATA,
        help="Mean of the colours, which are in [0, 1]; one number is for all three.",
    ),
]
Std = Annotated[
    tuple[float, float, float] | None,
    typer.Option(metavar="R G B", rich_help_panel=DATA, help="Standard deviation of the colours."),
]
Augment = Annotated[
    Literal["none", "flip", "flip both", "crop", "resized crop"] | None,
    typer.Option(
        rich_help_panel=DATA,
        metavar="WAY",
        help="How the training images are varied: none, flip, crop, resized crop, or flip both, "
        "upside down too, for detection. Crops for segmentation have --size.",
    ),
]
Subset = Annotated[
    int | None,
    typer.Option(
        min=1, rich_help_panel=DATA, help="Evaluate on this many test images, of all classes."
    ),
]
BatchSize = Annotated[
    int | None,
    typer.Option(
        min=1,
        rich_help_panel=DATA,
        help="Images in a batch; 128, for detection 2, for segmentation 4.",
    ),
]
Workers = Annotated[
    int | None,
    typer.Option(
        min=0,
        rich_help_panel=DATA,
        help="Processes that decode images (default: 2, or 1 on one core).",
    ),
]

Labels = Annotated[
    bool,
    typer.Option(
        "--labels/--no-labels",
        rich_help_panel=DATA,
        help="Score by labels, or without them by agreement with the original's answers.",
    ),
]

Recoverable = Annotated[
    bool,
    typer.Option(
        "--recoverable",
        help="Rank the sites by their loss once the layers behind each are reconstructed, with "
        "few training images, without labels.",
    ),
]

Mode = Annotated[
    Literal["eager", "compiled", "max-autotune", "cudagraph"],
    typer.Option(
        rich_help_panel=TIMING,
        metavar="MODE",
        help="eager, compiled, max-autotune or cudagraph.",
    ),
]
Threads = Annotated[
    int | None,
    typer.Option(
        min=1, rich_help_panel=TIMING, help="Threads of torch; its own number if not given."
    ),
]
TimingBatch = Annotated[
    int,
    typer.Option(
        min=1, metavar="N", rich_help_panel=TIMING, help="Images in a call that is timed."
    ),
]
Dtype = Annotated[
    Literal["float32", "float16", "bfloat16", "float64"],
    typer.Option(
        rich_help_panel=TIMING,
        metavar="TYPE",
        help="Type of weights and images: float32, float16, bfloat16 or float64.",
    ),
]
Repeats = Annotated[
    int, typer.Option(min=1, rich_help_panel=TIMING, help="How often each network is timed.")
]
ChannelsLast = Annotated[
    bool, typer.Option(rich_help_panel=TIMING, help="Layout of maps and weights in memory.")
]

Energy = Annotated[
    bool,
    typer.Option(
        "--energy",
        rich_help_panel=ENERGY,
        help="Measure joules per image, too, by the sensor of the device (RAPL, NVML, a Jetson's).",
    ),
]
EnergyFrom = Annotated[
    str | None,
    typer.Option(
        metavar="METER",
        rich_help_panel=ENERGY,
        help="Measure energy by this meter: rapl, gpu, jetson, jetson:RAIL,RAIL, or a file or "
        "command that gives a number, such as of a wall meter.",
    ),
]
EnergyUnit = Annotated[
    Literal["W", "mW", "uW", "J", "mJ", "uJ", "Wh", "kWh"],
    typer.Option(
        rich_help_panel=ENERGY,
        metavar="UNIT",
        help="Unit of that file's or command's number: W, mW, uW, or of an energy, which only "
        "grows, J, mJ, uJ, Wh or kWh.",
    ),
]
EnergyInterval = Annotated[
    float,
    typer.Option(rich_help_panel=ENERGY, help="Seconds in which that number is renewed."),
]
EnergyIdle = Annotated[
    Literal["include", "subtract"],
    typer.Option(
        rich_help_panel=ENERGY, help="Subtract the idle power, measured before, or include it."
    ),
]
EnergyRepeats = Annotated[
    int,
    typer.Option(
        min=1,
        rich_help_panel=ENERGY,
        help="How often each network is measured, for 20 readings of the sensor or more.",
    ),
]
