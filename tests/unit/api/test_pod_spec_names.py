"""Names in a pod's spec: those of its search paths."""

import pytest

from kybern.api.rules.pods.spec import _searches


def test_paths_of_searches_may_have_underscores_and_be_a_dot() -> None:
    paths = [".", "_sip._tcp.abc_d.example.com", "example.com.", "a_b.c"]

    assert list(_searches("spec.dnsConfig.searches", paths)) == []


@pytest.mark.parametrize("path", ["", "__a.b", "a_.b", "a..b", "-a.b", "A.b", "_"])
def test_other_paths_are_refused(path: str) -> None:
    (cause,) = _searches("spec.dnsConfig.searches", [path])

    assert cause.field == "spec.dnsConfig.searches[0]"
