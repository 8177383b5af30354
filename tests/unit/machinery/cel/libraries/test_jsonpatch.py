"""kubernetes.jsonpatch."""

import pytest

from kybern.machinery.cel.functions import Range
from kybern.machinery.cel.libraries import LIBRARIES, PATCHING
from kybern.machinery.cel.libraries.jsonpatch import JSON_PATCH, LIBRARY
from tests.unit.machinery.cel.libraries.calls import call, counted, estimated, size


@pytest.mark.parametrize(
    ("key", "escaped"), [("k8s.io/my~label", "k8s.io~1my~0label"), ("plain", "plain"), ("~1", "~01")]
)
def test_keys_are_escaped(key: str, escaped: str) -> None:
    assert call(LIBRARY, "string_jsonpatch_escapeKey_string", key) == escaped


def test_only_expressions_that_patch_may_call_it() -> None:
    assert LIBRARY in PATCHING
    assert LIBRARY not in LIBRARIES


def test_patches_have_fields() -> None:
    assert sorted(JSON_PATCH.fields) == ["from", "op", "path", "value"]
    assert JSON_PATCH in LIBRARY.types


def test_costs() -> None:
    name = "string_jsonpatch_escapeKey_string"
    assert estimated(LIBRARY, name, Range(1, 11)) == (1, 2)
    assert size(LIBRARY, name, Range(1, 11)) == (1, 11)
    assert counted(LIBRARY, name, "k8s.io/my~label") == 2
