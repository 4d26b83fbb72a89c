import json

import pytest

from virtualpool import VirtualPoolError
from virtualpool.documents import read_document, write_document
from virtualpool.schema import converted

VALUES = [
    {"a": 1},
    {},
    {"schema": 1},
    {"content": 1, "a": 2},
    {"value": 2, "b": None},
    [["a"]],
    [],
    1.5,
    None,
    "text",
]


@pytest.mark.parametrize("value", VALUES)
def test_a_value_comes_back_and_says_its_schema(tmp_path, value):
    path = tmp_path / "value.json"
    write_document(path, value)
    assert json.loads(path.read_text())["schema"] == 2
    assert read_document(path) == value


@pytest.mark.parametrize("value", [it for it in VALUES if "schema" not in str(it)])
def test_files_of_version_1_say_none(tmp_path, value):
    path = tmp_path / "value.json"
    path.write_text(json.dumps(value))
    assert read_document(path) == value


@pytest.mark.parametrize("schema", [3, 99, 0, -1, True, "2", None, [], 2.5])
def test_another_schema_is_refused_by_name(tmp_path, schema):
    path = tmp_path / "value.json"
    path.write_text(json.dumps({"schema": schema, "a": 1}))
    with pytest.raises(VirtualPoolError, match=f"^{path}: has schema .*Install a newer"):
        read_document(path)


def test_what_cannot_be_parsed_names_the_file(tmp_path):
    path = tmp_path / "value.json"
    write_document(path, [["a"], [5]])
    with pytest.raises(VirtualPoolError, match=rf"^{path}: Not rounds: .*got `int` - at `\$\[1\]"):
        read_document(path, lambda value: converted(value, list[list[str]], "rounds"))


@pytest.mark.parametrize("depth", [101, 900, 200_000])
def test_what_is_nested_deeply_is_refused_by_name(tmp_path, depth):
    path = tmp_path / "value.json"
    for begin, end in (("[", "]"), ('{"a":', "}")):
        path.write_text(begin * depth + "1" + end * depth)
        with pytest.raises(VirtualPoolError, match=f"^{path}: not a JSON file .nested too deeply"):
            read_document(path)


@pytest.mark.parametrize("number", ["NaN", "-Infinity", "1e999", "9" * 400, "9" * 5000])
def test_numbers_that_no_float_holds_are_refused_by_name(tmp_path, number):
    path = tmp_path / "value.json"
    path.write_text(f'{{"a": [1, {number}]}}')
    with pytest.raises(VirtualPoolError, match=f"^{path}: not a JSON file .* out of range"):
        read_document(path)
