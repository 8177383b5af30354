"""Every conformance test that ``tests/data/conformance.json`` names is held by tests of ours that exist.

The names in ``conformance_wanted.txt`` are those public ones that need the API alone, controllers, the network of a lab, or
the pods and volumes of one node. Every one of them is held by a test, not by a reason.

They are looked up in the text, not run: a test that was renamed or removed shows here within the second.
"""

import ast
import json
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TABLE = ROOT / "tests/data/conformance.json"
WANTED = (ROOT / "tests/data/conformance_wanted.txt").read_text().splitlines()


def entries() -> list[tuple[str, list[str] | str]]:
    """Names, and our tests or the reason why there are none. In pairs: a mapping would hide a name that is there twice."""
    found: list[tuple[str, list[str] | str]] = json.loads(TABLE.read_text(), object_pairs_hook=list)
    return found


ENTRIES = entries()


@cache
def named_in(path: Path) -> frozenset[str]:
    """Names of a file's tests."""
    tree = ast.parse(path.read_text())
    return frozenset(
        node.name
        for node in tree.body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_")
    )


def missing(tests: list[str]) -> list[str]:
    """Those that are not there."""
    found = []
    for test in tests:
        path, _, name = test.partition("::")
        if not (ROOT / path).is_file() or name not in named_in(ROOT / path):
            found.append(test)
    return found


def test_no_name_is_there_twice() -> None:
    names = [name for name, _ in ENTRIES]

    assert names == sorted(set(names))


@pytest.mark.parametrize(("name", "said"), ENTRIES, ids=[name for name, _ in ENTRIES])
def test_an_entry_names_tests_that_exist_or_a_reason(name: str, said: list[str] | str) -> None:
    assert name.endswith("[Conformance]")
    if isinstance(said, str):
        assert said.strip()
        return
    assert said
    assert len(set(said)) == len(said)
    assert missing(said) == []


@pytest.mark.parametrize("name", WANTED)
def test_what_is_wanted_is_held_by_name(name: str) -> None:
    assert isinstance(dict(ENTRIES).get(name), list)


def test_a_test_that_is_not_there_is_found_missing() -> None:
    here = "tests/unit/test_conformance.py"

    assert missing([f"{here}::test_no_name_is_there_twice"]) == []
    assert missing([f"{here}::test_nothing", "tests/unit/nothing.py::test_no_name_is_there_twice"]) == [
        f"{here}::test_nothing",
        "tests/unit/nothing.py::test_no_name_is_there_twice",
    ]
