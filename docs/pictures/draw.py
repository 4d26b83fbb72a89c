"""Draws the pictures of docs/fusing.md, beside this file unless another folder is named.

python docs/pictures/draw.py
"""

import argparse
from pathlib import Path

import border
import folding
import questions
from drawing import save

PICTURES = {
    "folding.svg": folding.draw,
    "border.svg": border.draw,
    "questions.svg": questions.draw,
}


def main() -> None:
    """Draws every picture."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("output", type=Path, nargs="?", default=Path(__file__).parent)
    output = parser.parse_args().output
    for name, draw in PICTURES.items():
        save(draw(), output / name)


if __name__ == "__main__":
    main()
