"""`virtualpool` names everything and imports nothing, in whatever order its parts are imported."""

import ast
import importlib
import inspect
import os
import pkgutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

import pytest

import virtualpool

COMMAND = Path(sys.executable).with_name("virtualpool")
WHOLE = os.environ.get("VIRTUALPOOL_ZOO") == "all"
HEAVY = {"torch", "torchvision", "numpy", "matplotlib", "accelerate", "torchmetrics", "PIL"}


@pytest.fixture
def anew() -> Iterator[None]:
    """As if nothing of the package had been imported yet."""
    before = _imported()
    for name in before:
        del sys.modules[name]
    yield
    for name in _imported():
        del sys.modules[name]
    sys.modules.update(before)


def _imported() -> dict[str, ModuleType]:
    names = [name for name in sys.modules if name.partition(".")[0] == "virtualpool"]
    return {name: sys.modules[name] for name in names}


def modules() -> list[str]:
    """The rooms and what people import first; those deep in a room, too, for the whole zoo."""
    walk = pkgutil.walk_packages if WHOLE else pkgutil.iter_modules
    found = walk(virtualpool.__path__, "virtualpool.")
    return ["virtualpool", *(module.name for module in found if "__main__" not in module.name)]


@pytest.mark.usefixtures("anew")
@pytest.mark.parametrize("name", modules())
def test_any_module_can_be_the_first_that_is_imported(name: str) -> None:
    importlib.import_module(name)


ORDERS = [
    "import virtualpool",
    "import virtualpool; virtualpool.search",
    "import virtualpool.search",
    "import virtualpool.search.sensitivity",
    "import virtualpool.search as found",
    "from virtualpool import search",
    "from virtualpool.search import Frontier",
    "from virtualpool import search; import virtualpool.search",
    "import virtualpool.search; from virtualpool import search",
    "import virtualpool.sites",
    "from virtualpool import sites; from virtualpool.sites import Site",
    "import virtualpool.measure",
    "from virtualpool import measure",
    "from virtualpool.measure import macs; from virtualpool import measure",
    "import virtualpool.cli.tune",
    "import virtualpool.storage; import virtualpool.recover.training",
    "from virtualpool import *",
    "from importlib import import_module; import_module('virtualpool.search')",
    "from importlib import import_module; import virtualpool; import_module('virtualpool.sites')",
]


@pytest.mark.usefixtures("anew")
@pytest.mark.parametrize("order", ORDERS)
def test_a_name_stays_what_it_is_when_a_submodule_of_that_name_is_imported(order: str) -> None:
    exec(order, {})
    package: Any = importlib.import_module("virtualpool")
    for name in ("search", "sensitivity", "sites"):
        assert isinstance(getattr(package, name), FunctionType), name
    assert isinstance(package.measure, ModuleType)
    assert package.search is sys.modules["virtualpool.search"].search
    assert package.sites is sys.modules["virtualpool.sites"].sites
    assert package.Frontier is sys.modules["virtualpool.search.frontier.frontier"].Frontier


def test_every_name_is_there() -> None:
    for name in virtualpool.__all__:
        value = getattr(virtualpool, name)
        assert inspect.ismodule(value) or value.__name__ == name
    assert {*virtualpool.__all__} <= {*dir(virtualpool)}
    assert {"__doc__", "__path__"} <= {*dir(virtualpool)}


def test_type_checkers_see_the_same_names() -> None:
    tree = ast.parse(Path(str(virtualpool.__file__)).read_text())
    (seen,) = [node for node in tree.body if isinstance(node, ast.If)]
    homes = {
        alias.name: str(node.module)
        for node in seen.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert sorted(homes) == virtualpool.__all__ == sorted(vars(virtualpool)["_homes"])
    for name, home in homes.items():
        assert getattr(importlib.import_module(home), name) is getattr(virtualpool, name)


def test_other_names_are_refused_as_python_does() -> None:
    with pytest.raises(AttributeError, match="module 'virtualpool' has no attribute 'serch'"):
        _ = virtualpool.serch  # pyright: ignore[reportAttributeAccessIssue]
    with pytest.raises(ImportError, match="cannot import name 'serch'"):
        exec("from virtualpool import serch")


def test_a_name_can_be_replaced_for_a_test(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(virtualpool, "search", len)
    assert virtualpool.search is len


@pytest.mark.parametrize(
    "arguments",
    [
        ["-c", "import virtualpool"],
        ["-c", "import virtualpool; dir(virtualpool); virtualpool.VirtualPoolError"],
        *([COMMAND, *names, "--help"] for names in ([], ["tune"], ["sensitivity"], ["pick"])),
        [COMMAND, "--version"],
    ],
    ids=str,
)
def test_what_needs_no_torch_imports_none(arguments: list[str]) -> None:
    result = subprocess.run(
        [sys.executable, "-X", "importtime", *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    imported = {line.rpartition("|")[2].strip() for line in result.stderr.splitlines()}
    assert "virtualpool.lazy" in imported
    assert imported & HEAVY == set()
