"""YAML as Kubernetes reads it: converted to what JSON can say, by the rules of Go's YAML 1.1 reader.

Times and binary stay text, keys become strings, ``yes`` is true, ``22:22`` is text (Python's reader would make it a
number of base 60), and ``08`` is eight.
"""

import re
from typing import Any

import yaml

from kybern.machinery.errors import BadRequest

TAG = "tag:yaml.org,2002:"
INTEGER = re.compile(r"[-+]?(0b[01_]+|0x[0-9a-fA-F_]+|0o[0-7_]+|[0-9][0-9_]*)$", re.ASCII)
FLOAT = re.compile(r"[-+]?(\.[0-9_]+|[0-9][0-9_]*(\.[0-9_]*)?)([eE][-+]?[0-9]+)?$", re.ASCII)
BOOLEAN = re.compile(r"(y|Y|yes|Yes|YES|on|On|ON|true|True|TRUE|n|N|no|No|NO|off|Off|OFF|false|False|FALSE)$")
NULL = re.compile(r"(~|null|Null|NULL|)$")
TRUE = frozenset({"y", "yes", "on", "true"})


class _Loader(yaml.CSafeLoader):
    """A reader that remembers keys that were given twice."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012  # PyYAML's own shape

    def __init__(self, stream: Any) -> None:
        super().__init__(stream)
        self.twice: list[str] = []


class _Dumper(yaml.CSafeDumper):
    """A writer that quotes what the reader would not take for text."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {  # noqa: RUF012  # PyYAML's own shape
        first: list(found) for first, found in yaml.CSafeDumper.yaml_implicit_resolvers.items()
    }


def _mapping(loader: _Loader, node: yaml.MappingNode) -> dict[str, Any]:
    loader.flatten_mapping(node)
    found: dict[str, Any] = {}
    for key_node, value_node in node.value:
        key = _key(loader.construct_object(key_node, deep=True))
        if key in found:
            loader.twice.append(f'line {key_node.start_mark.line + 1}: key "{key}" already set in map')
        found[key] = loader.construct_object(value_node, deep=True)
    return found


def _key(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return "null" if value is None else str(value)


def _text(_loader: _Loader, node: yaml.ScalarNode) -> str:
    return str(node.value)


def _integer(_loader: _Loader, node: yaml.ScalarNode) -> int:
    text = node.value.replace("_", "").lower()
    digits = text.lstrip("+-")
    if digits.startswith("0") and digits.isdecimal():
        size = int(digits, 8) if not re.search("[89]", digits) else int(digits)
    else:
        size = int(digits, 0)
    return -size if text[0] == "-" else size


def _float(_loader: _Loader, node: yaml.ScalarNode) -> float:
    number = float(node.value.replace("_", ""))
    # Go writes a float without a fraction as an integer, and that is what its decoder meets then.
    return int(number) if number.is_integer() else number


def _boolean(_loader: _Loader, node: yaml.ScalarNode) -> bool:
    return str(node.value).lower() in TRUE


def _prepare() -> None:
    for tag, pattern, first in (
        ("bool", BOOLEAN, "yYnNtTfFoO"),
        ("int", INTEGER, "-+0123456789"),
        ("float", FLOAT, "-+0123456789."),
        ("null", NULL, ["~", "n", "N", ""]),
        ("merge", re.compile("<<$"), "<"),
    ):
        _Loader.add_implicit_resolver(f"{TAG}{tag}", pattern, list(first))
        _Dumper.add_implicit_resolver(f"{TAG}{tag}", pattern, list(first))
    _Loader.add_constructor(f"{TAG}map", _mapping)
    _Loader.add_constructor(f"{TAG}int", _integer)
    _Loader.add_constructor(f"{TAG}float", _float)
    _Loader.add_constructor(f"{TAG}bool", _boolean)
    for tag in ("timestamp", "binary"):
        _Loader.add_constructor(f"{TAG}{tag}", _text)


_prepare()


def decode_yaml(body: bytes, duplicates: bool = False) -> tuple[Any, list[str]]:
    """The value of the only document, and (if asked for) what is wrong with its keys. Raises BadRequest."""
    try:
        loader = _Loader(body)
        value = loader.get_single_data()
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise BadRequest(f"error converting YAML to JSON: yaml: {_complaint(error)}") from error
    if duplicates and loader.twice:
        return value, ["\n  ".join(["yaml: unmarshal errors:", *loader.twice])]
    return value, []


def _complaint(error: Exception) -> str:
    mark = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None) or str(error)
    return f"line {mark.line + 1}: {problem}" if mark is not None else str(problem)


def encode_yaml(value: Any) -> bytes:
    """YAML with sorted keys, as upstream answers it."""
    text = yaml.dump(value, Dumper=_Dumper, default_flow_style=False, allow_unicode=True)
    return str(text).encode()
