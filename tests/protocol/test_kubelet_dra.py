"""A pod with a claim, from its preparation to its end: the runtime is told the device's name, and knows it by CDI."""

import json
from pathlib import Path
from typing import Any

import pytest

from kybern.api.core_v1 import Pod
from kybern.api.resource_v1 import ResourceClaim
from kybern.machinery.struct import encode
from tests.protocol.containerd_bed import SLEEP, Bed, OneNode, clean, one_node, running
from tests.protocol.dra_driver import CDI, NAME, driver
from tests.protocol.test_dra import claim, until

pytestmark = [pytest.mark.containerd, pytest.mark.timeout(180)]

_SPECS = Path("/var/run/cdi")
USER = {"name": "c", "command": SLEEP, "resources": {"claims": [{"name": "mine"}]}}


@pytest.fixture
def device() -> Any:
    """What a driver writes for the runtime: its device is a variable."""
    file = _SPECS / f"{NAME}.json"
    kind, _, name = CDI.partition("=")
    edits = {"containerEdits": {"env": ["KNOB=one"]}}
    _SPECS.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps({"cdiVersion": "0.5.0", "kind": kind, "devices": [{"name": name, **edits}]}))
    yield
    file.unlink()


async def reserve(node: OneNode, name: str, pod: Pod) -> None:
    found = node.api.one(ResourceClaim, "default", name)
    assert found is not None
    status = json.loads(encode(found.status)) | {
        "reservedFor": [{"resource": "pods", "name": name, "uid": pod.metadata.uid}]
    }
    path = f"/apis/resource.k8s.io/v1/namespaces/default/resourceclaims/{name}/status"
    await node.api.request("PATCH", path, {"status": status})


@pytest.mark.usefixtures("device")
async def test_a_claim_is_prepared_shown_to_the_container_and_taken_back(bed: Bed) -> None:
    async with one_node(bed) as node, driver(bed.at / "kubelet") as (devices, registration):
        await until(lambda: registration.told)
        await claim(node.api, "web")
        claims = [{"name": "mine", "resourceClaimName": "web"}]
        await node.add("web", USER, resourceClaims=claims)
        await until(lambda: [r for r, _m in node.events("web") if r == "FailedPrepareDynamicResources"])
        pod = node.pod("web")
        assert pod is not None
        await reserve(node, "web", pod)
        await node.until("web", running, 60)
        inside = await node.execute("web", "sh", "-c", "echo $KNOB")
        before = list(devices.calls)
        await node.delete("web")
        await node.gone("web")

    assert inside == "one"
    assert before == [("prepare", "web")]
    assert devices.calls == [("prepare", "web"), ("unprepare", "web")]
    text = next(m for r, m in node.events("web") if r == "FailedPrepareDynamicResources")
    assert "is not allowed to use ResourceClaim web" in text
    await clean(bed)
