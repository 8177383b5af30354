"""What a write of a status leaves alone."""

import copy
from typing import Any

import pytest

from kybern.api.apiregistration_v1 import apiservice
from kybern.api.apps_v1 import deployment
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
