"""A package whose names are imported when they are first used, so that to import it costs nothing.

A name may belong to a submodule too: `virtualpool.search` is the function, though Python sets the
submodule `virtualpool.search` as an attribute of the package wherever that is imported.
"""

import importlib
import sys
from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import Any


def export(package: str, names: Mapping[str, Sequence[str]], modules: Sequence[str] = ()) -> None:
    """Makes names available in a package without importing where they come from.

    Args:
        package: the package's `__name__`.
        names: of each submodule, the names that the package exports.
        modules: submodules that are exported themselves.
    """
    module = sys.modules[package]
    homes = {name: home for home, exported in names.items() for name in exported}
    module.__dict__["_homes"] = homes | dict.fromkeys(modules)
    module.__class__ = _LazyPackage


class _LazyPackage(ModuleType):
    _homes: dict[str, str | None]
    """Of each name the submodule that defines it; None where it is one itself."""

    def __getattr__(self, name: str) -> Any:
        if name not in self._homes:
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        home = self._homes[name]
        module = importlib.import_module(f"{self.__name__}.{home or name}")
        value = getattr(module, name) if home else module
        self.__dict__[name] = value
        return value

    def __setattr__(self, name: str, value: Any) -> None:
        # A submodule must not take the place of the export of the same name.
        if name not in self._homes or not isinstance(value, ModuleType):
            super().__setattr__(name, value)

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *self._homes})
