"""The size of a workload, patched and applied by way of its Scale."""

from typing import Any

import pytest

from kybern.apiserver.generic import current
from kybern.apiserver.generic.patch import APPLY_PATCH, MERGE_PATCH
from kybern.apiserver.options import WriteOptions
from kybern.apiserver.subresources import scale
from kybern.machinery.apply.merge import ApplyConflict
from kybern.machinery.errors import BadRequest, Invalid
from kybern.storage.value import encoded

TEMPLATE = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
SELECTED: dict[str, Any] = {"selector": {"matchLabels": {"a": "b"}}, "template": TEMPLATE}


@pytest.fixture
async def asked(make: Any, call: Any) -> Any:
    """Makes a call for the scale of a deployment of one pod, by a manager."""
    await make("deployments", {"metadata": {"name": "d"}, "spec": SELECTED}, "apps")

    def made(manager: str, force: bool = False) -> Any:
        found = call("deployments", "d", "apps")
        found.subresource, found.options = "scale", WriteOptions(manager=manager, force=force)
        return found

    return made


def applied(replicas: Any, name: str = "d") -> bytes:
    metadata = {"name": name, "namespace": "default"}
    body = {
        "apiVersion": "autoscaling/v1",
        "kind": "Scale",
        "metadata": metadata,
        "spec": {"replicas": replicas},
    }
    return encoded(body)


async def test_who_applies_a_size_manages_it(asked: Any) -> None:
    found = (await scale.patch_(asked("sizer", force=True), applied(3), APPLY_PATCH)).raw

    assert (found["kind"], found["spec"]) == ("Scale", {"replicas": 3})
    raw = (await current.read(asked(""))).raw
    assert raw["spec"]["replicas"] == 3
    (entry,) = [each for each in raw["metadata"]["managedFields"] if each["manager"] == "sizer"]
    assert (entry["operation"], entry["subresource"], entry["apiVersion"]) == ("Apply", "scale", "apps/v1")
    assert entry["fieldsV1"] == {"f:spec": {"f:replicas": {}}}


async def test_a_size_that_somebody_else_applies_is_in_conflict_unless_forced(asked: Any) -> None:
    with pytest.raises(
        ApplyConflict, match=r'conflict with "kube-apiserver" using autoscaling/v1: \.spec\.replicas'
    ):
        await scale.patch_(asked("sizer"), applied(3), APPLY_PATCH)
    await scale.patch_(asked("sizer", force=True), applied(3), APPLY_PATCH)
    with pytest.raises(ApplyConflict, match=r'conflict with "sizer".*: \.spec\.replicas'):
        await scale.patch_(asked("other"), applied(4), APPLY_PATCH)
    await scale.patch_(asked("other", force=True), applied(4), APPLY_PATCH)

    managed = (await current.read(asked(""))).raw["metadata"]["managedFields"]
    assert [each["manager"] for each in managed if each.get("subresource") == "scale"] == ["other"]


@pytest.mark.parametrize(
    ("body", "refused", "says"),
    [
        (applied(-1), Invalid, "spec.replicas: Invalid value: -1: must be greater than or equal to 0"),
        (
            applied(1, "e"),
            BadRequest,
            r"the name of the object \(e\) does not match the name on the URL \(d\)",
        ),
        (
            b'{"apiVersion":"apps/v1","kind":"Deployment"}',
            BadRequest,
            "invalid object type: apps/v1, Kind=Deployment",
        ),
    ],
)
async def test_a_scale_that_is_none_is_not_applied(asked: Any, body: bytes, refused: Any, says: str) -> None:
    with pytest.raises(refused, match=says):
        await scale.patch_(asked("sizer"), body, APPLY_PATCH)


async def test_a_patch_that_makes_no_scale_is_refused_as_a_patch(asked: Any) -> None:
    with pytest.raises(Invalid) as refused:
        await scale.patch_(asked("sizer"), b'{"spec":{"replicas":"x"}}', MERGE_PATCH)

    assert refused.value.details is not None
    (cause,) = refused.value.details.causes
    assert cause.field == "patch"
    assert cause.message.endswith(
        "json: cannot unmarshal string into Go struct field ScaleSpec.spec.replicas of type int32"
    )
