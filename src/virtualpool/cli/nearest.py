"""What the user may have meant."""

import difflib
from collections.abc import Iterable


def nearest(name: str, names: Iterable[str]) -> str:
    """The end of a message about an unknown name; all names where there are few.

    >>> nearest("resnet5", ["resnet50", "resnet18", "vgg16", "vgg19", "alexnet", "squeezenet1_0"])
    '; the nearest are resnet50, resnet18'
    """
    known = list(names)
    near = difflib.get_close_matches(name, known, n=3) or (known if len(known) <= 5 else [])
    return f"; the nearest are {', '.join(near)}" if near else ""
