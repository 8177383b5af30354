"""Every case of upstream's e2e suite of the network (test/e2e/network) is held by tests of ours that exist, or has a reason.

``tests/data/network_cases.json`` has the cases by the file that they are in; tests are looked up in the text, not run.
Upstream's suite of network policies is not in it: tests/protocol/test_policies_upstream.py goes through that by itself.
"""

import json
from pathlib import Path

import pytest

from tests.unit.test_conformance import missing

TABLE = json.loads(
    (Path(__file__).parents[1] / "data/network_cases.json").read_text(), object_pairs_hook=list
)
CASES = [(file, name, said) for file, cases in TABLE for name, said in cases]


def test_files_and_cases_are_there_once_and_in_order() -> None:
    for names in ([file for file, _ in TABLE], *([name for name, _ in cases] for _, cases in TABLE)):
        assert names == sorted(set(names))


@pytest.mark.parametrize(
    ("name", "said"), [each[1:] for each in CASES], ids=[" ".join(each[:2]) for each in CASES]
)
def test_a_case_names_tests_that_exist_or_a_reason(name: str, said: list[str] | str) -> None:
    assert name
    if isinstance(said, str):
        assert said.strip()
        return
    assert said
    assert len(set(said)) == len(said)
    assert missing(said) == []
