"""What a write of a status leaves alone."""

import copy
from typing import Any

import pytest

from kybern.api.apiregistration_v1 import apiservice
from kybern.api.apps_v1 import deployment
from kybern.api.core_v1 import pod
from kybern.machinery.kind import Kind

STORED: dict[str, Any] = {
    "metadata": {"labels": {"a": "1"}, "annotations": {"b": "1"}, "finalizers": ["x/y"]}
}


@pytest.mark.parametrize(
    ("kind", "kept"),
    [(deployment.KIND, {"labels"}), (apiservice.KIND, {"labels", "annotations", "finalizers"})],
)
def test_some_kinds_take_little_but_the_status(kind: Kind, kept: set[str]) -> None:
    new: dict[str, Any] = {"metadata": {"labels": {"a": "2"}, "annotations": {"b": "2"}, "finalizers": []}}
    sent = copy.deepcopy(new)

    kind.rules.on_status(new, STORED)

    assert new["metadata"] == {
        key: (STORED if key in kept else sent)["metadata"][key] for key in sent["metadata"]
    }
    kind.rules.on_status(bare := {"metadata": {"labels": {"a": "2"}}}, {"metadata": {}})
    assert "labels" not in bare["metadata"]


@pytest.mark.parametrize("every", ["podIPs", "hostIPs"])
@pytest.mark.parametrize(
    ("told", "before", "refused"),
    [
        (["10.0.0.1"], [], []),
        (["10.0.0.1", "fd00::1"], [], []),
        (["?"], [], ["[0]"]),
        (["10.0.0.1", "fd00::1/64"], [], ["[1]"]),
        (["?"], ["?"], []),
        (["10.0.0.1", "10.0.0.2"], [], [""]),
        (["10.0.0.1", "fd00::1", "fd00::2"], [], [""]),
    ],
)
def test_what_is_no_address_is_refused_in_a_pod_s_status(
    every: str, told: list[str], before: list[str], refused: list[str]
) -> None:
    def with_status(addresses: list[str]) -> dict[str, Any]:
        return {"status": {every: [{"ip": one} for one in addresses]}}

    causes = list(pod.KIND.rules.validate_status(with_status(told), with_status(before)))

    assert [one.field for one in causes] == [f"status.{every}{place}" for place in refused]
