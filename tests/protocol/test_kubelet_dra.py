"""A pod with a claim, from its preparation to its end. What the runtime makes of a device's name (CDI) is its own."""

import json
from typing import Any

import pytest

from kybern._proto import dra_health_pb2 as health_pb
from kybern.api.core_v1 import Pod
from kybern.api.resource_v1 import ResourceClaim
from kybern.kubelet.cri import Runtime
from kybern.machinery.struct import encode
from tests.protocol.containerd_bed import SLEEP, Bed, OneNode, clean, one_node, running
from tests.protocol.dra_driver import CDI, driver
from tests.protocol.test_dra import claim, until

pytestmark = [pytest.mark.containerd, pytest.mark.timeout(180)]

USER = {"name": "c", "command": SLEEP, "resources": {"claims": [{"name": "mine"}]}}


async def reserve(node: OneNode, name: str, pod: Pod) -> None:
    found = node.api.one(ResourceClaim, "default", name)
    assert found is not None
    status = json.loads(encode(found.status)) | {
        "reservedFor": [{"resource": "pods", "name": name, "uid": pod.metadata.uid}]
    }
    path = f"/apis/resource.k8s.io/v1/namespaces/default/resourceclaims/{name}/status"
    await node.api.request("PATCH", path, {"status": status})


async def test_a_claim_is_prepared_told_to_the_runtime_and_taken_back(
    bed: Bed, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    create = Runtime.create_container

    async def noted(self: Runtime, sandbox: str, config: Any, of_sandbox: Any) -> str:
        told.extend(one.name for one in config.CDI_devices)
        return await create(self, sandbox, config, of_sandbox)

    monkeypatch.setattr(Runtime, "create_container", noted)
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
        before = list(devices.calls)
        await node.delete("web")
        await node.gone("web")

    assert told == [CDI]
    assert before == [("prepare", "web")]
    assert devices.calls == [("prepare", "web"), ("unprepare", "web")]
    text = next(m for r, m in node.events("web") if r == "FailedPrepareDynamicResources")
    assert "is not allowed to use ResourceClaim web" in text
    await clean(bed)


async def test_a_pods_status_tells_of_the_health_of_its_devices(bed: Bed) -> None:
    def told(pod: Pod) -> list[tuple[str, str, str, str]]:
        return [
            (one.name, device.resource_id, device.health, device.message)
            for container in pod.status.container_statuses
            for one in container.allocated_resources_status
            for device in one.resources
        ]

    async with one_node(bed) as node, driver(bed.at / "kubelet", tells=True) as (devices, registration):
        await until(lambda: registration.told)
        await claim(node.api, "sick")
        await node.add("sick", USER, resourceClaims=[{"name": "mine", "resourceClaimName": "sick"}])
        await until(lambda: node.pod("sick"))
        pod = node.pod("sick")
        assert pod is not None
        await reserve(node, "sick", pod)
        await node.until("sick", lambda pod: told(pod) == [("claim:mine", CDI, "Healthy", "")], 60)
        devices.health = (health_pb.UNHEALTHY, "it smokes", 0)
        devices.changed.set()
        await node.until("sick", lambda pod: told(pod) == [("claim:mine", CDI, "Unhealthy", "it smokes")])
        await node.delete("sick")
        await node.gone("sick")
    await clean(bed)
