"""Phrases that messages are made of."""

import difflib
from collections.abc import Iterable


def count(number: int, noun: str) -> str:
    """A number of things.

    >>> count(1, "run"), count(3, "run")
    ('1 run', '3 runs')
    """
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def some(names: Iterable[str], most: int = 3) -> str:
    """The first few names: a network may have a hundred sites, and a message is a line.

    Args:
        names: all of them.
        most: how many are shown.

    >>> some(["conv1", "conv2"]), some(f"conv{number}" for number in range(9))
    ('conv1, conv2', 'conv0, conv1, conv2 and 6 more')
    """
    listed = list(names)
    more = f" and {len(listed) - most} more" if len(listed) > most else ""
    return ", ".join(listed[:most]) + more


def first_line(text: object) -> str:
    r"""The first line of a text, or of an error's message.

    >>> first_line(ValueError("wrong\nmore of it"))
    'wrong'
    """
    return str(text).strip().partition("\n")[0]


def nearest(name: str, names: Iterable[str], alike: float = 0.6) -> str:
    """The end of a message about an unknown name; all names where there are few.

    Args:
        name: the user's word.
        names: the known words.
        alike: from 0 to 1, how much like it a name must be to be proposed.

    >>> nearest("resnet5", ["resnet50", "resnet18", "vgg16", "vgg19", "alexnet", "squeezenet1_0"])
    '; the nearest are resnet50, resnet18'
    >>> nearest("biuld", ["build"])
    '; the nearest is build'
    """
    known = list(names)
    near = difflib.get_close_matches(name, known, n=3, cutoff=alike) or (
        known if len(known) <= 5 else []
    )
    return f"; the nearest {'is' if len(near) == 1 else 'are'} {', '.join(near)}" if near else ""


def in_words(seconds: float) -> str:
    """About how long, for people.

    >>> in_words(0.4), in_words(40), in_words(95), in_words(500), in_words(9000)
    ('0.4 s', '40 s', '1.6 min', '8.3 min', '2.5 h')
    """
    units = {"s": 1, "min": 60, "h": 3600}
    unit = next((unit for unit, size in units.items() if seconds < 90 * size), "h")
    number = seconds / units[unit]
    return f"{number:.{0 if number >= 10 else 1}f} {unit}"
