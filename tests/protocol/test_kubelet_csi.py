"""Volumes of a storage driver, from its registration to the last unstaging."""

import asyncio
import json
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import grpc
import pytest

from kybern.api.core_v1 import Node, PersistentVolumeClaim
from kybern.api.storage_v1 import CSINode, VolumeNodeResources
from kybern.kubelet.csi.names import attachment_name
from kybern.kubelet.stats.summary import summary
from tests.protocol.containerd_bed import KINDS, SLEEP, Api, Bed, OneNode, clean, one_node, running
from tests.protocol.csi_driver import NAME, driver, encoded

pytestmark = [pytest.mark.containerd, pytest.mark.timeout(180)]

MOUNTS = {"name": "c", "command": SLEEP, "volumeMounts": [{"name": "v", "mountPath": "/v"}]}
STORAGE = "/apis/storage.k8s.io/v1"


async def until(check: Callable[[], Any], seconds: float = 20.0) -> Any:
    limit = time.monotonic() + seconds
    while not (found := check()):
        assert time.monotonic() < limit, "it did not come about"
        await asyncio.sleep(0.05)
    return found


async def registered(node: OneNode) -> CSINode:
    def check() -> CSINode | None:
        found = node.api.one(CSINode, "", "n1")
        return found if found is not None and found.spec.drivers else None

    found: CSINode = await until(check)
    return found


async def info(node: OneNode, **spec: Any) -> None:
    await node.api.request("POST", f"{STORAGE}/csidrivers", {"metadata": {"name": NAME}, "spec": spec})


async def claimed(node: OneNode, handle: str, **source: Any) -> None:
    """A volume and its claim, both called as the handle."""
    path = "/api/v1/namespaces/default/persistentvolumeclaims"
    claim = {"metadata": {"name": handle, "namespace": "default"}, "spec": {"volumeName": handle}}
    await node.api.request("POST", path, claim)
    await node.api.request("PATCH", f"{path}/{handle}/status", {"status": {"phase": "Bound"}})
    found = node.api.one(PersistentVolumeClaim, "default", handle)
    assert found is not None
    spec = {
        "accessModes": ["ReadWriteOnce"], "mountOptions": ["noatime"],
        "claimRef": {"name": handle, "namespace": "default", "uid": found.metadata.uid},
        "csi": {"driver": NAME, "volumeHandle": handle, "fsType": "ext4", "volumeAttributes": {"kind": "fast"}} | source,
    }  # fmt: skip
    await node.api.request("POST", "/api/v1/persistentvolumes", {"metadata": {"name": handle}, "spec": spec})


def using(claim: str) -> dict[str, Any]:
    return {"name": "v", "persistentVolumeClaim": {"claimName": claim}}


def nothing_left(bed: Bed) -> None:
    assert str(bed.at / "kubelet") not in Path("/proc/self/mountinfo").read_text()
    assert list((bed.at / "kubelet/plugins/kubernetes.io/csi").rglob("vol_data.json")) == []


async def test_a_driver_makes_itself_known_and_is_forgotten(bed: Bed) -> None:
    async with one_node(bed) as node:
        async with driver(bed.at / "kubelet") as (_volumes, registration):
            found = await registered(node)
            own = node.api.one(Node, "", "n1")
            assert own is not None
            await until(lambda: registration.told)
            assert registration.told == [(True, "")]
        await until(lambda: not node.api.all(CSINode)[0].spec.drivers)

    (one,) = found.spec.drivers
    assert (one.name, one.node_id, one.topology_keys) == (
        NAME,
        "node-7",
        ("topology.tests.kybern.example/node",),
    )
    assert one.allocatable is not None
    assert one.allocatable.count == 9
    assert found.metadata.owner_references[0].name == "n1"
    assert own.metadata.labels["topology.tests.kybern.example/node"] == "here"
    assert own.metadata.annotations["csi.volume.kubernetes.io/nodeid"] == f'{{"{NAME}": "node-7"}}'
    await clean(bed)


async def test_a_volume_is_staged_once_and_published_to_each_pod(bed: Bed) -> None:
    async with one_node(bed) as node, driver(bed.at / "kubelet") as (volumes, _registration):
        await registered(node)
        await info(node, attachRequired=False, podInfoOnMount=True, fsGroupPolicy="File")
        secret = {"metadata": {"name": "key", "namespace": "default"}, "data": encoded({"password": "hush"})}
        await node.api.request("POST", "/api/v1/namespaces/default/secrets", secret)
        await claimed(node, "vol-1", nodeStageSecretRef={"name": "key", "namespace": "default"})
        await node.add("first", MOUNTS, volumes=[using("vol-1")], securityContext={"fsGroup": 3000})
        first = await node.until("first", running)
        part = [{"name": "v", "mountPath": "/part", "subPath": "below"}]
        await node.add("second", MOUNTS | {"volumeMounts": part}, volumes=[using("vol-1")])
        await node.until("second", running)

        assert await node.execute("first", "sh", "-c", "echo kept > /v/file; stat -c %g /v") == "3000"
        assert volumes.asked("stage", "publish") == ["stage", "publish", "stage", "publish"]
        stage, publish = volumes.request("stage"), volumes.request("publish")
        assert dict(stage.secrets) == {"password": "hush"}
        assert stage.volume_capability.mount.fs_type == "ext4"
        assert publish.staging_target_path == stage.staging_target_path
        assert publish.target_path.endswith(f"{first.metadata.uid}/volumes/kubernetes.io~csi/vol-1/mount")
        assert publish.volume_context["csi.storage.k8s.io/pod.name"] == "first"
        assert publish.volume_context["kind"] == "fast"
        await node.delete("first")
        await node.gone("first")
        assert volumes.asked("unstage") == []
        await node.delete("second")
        await node.gone("second")

        assert volumes.asked("unpublish", "unstage") == ["unpublish", "unpublish", "unstage"]
        assert (volumes.store / "vol-1/file").read_text() == "kept\n"
        nothing_left(bed)
    await clean(bed)


@pytest.mark.parametrize("apart", [False, True])
async def test_a_driver_is_given_tokens_of_the_pods_account(bed: Bed, apart: bool) -> None:
    """Among the volume's attributes, or with the secrets, which a driver does not log: as the CSIDriver says."""
    name = "csi.storage.k8s.io/serviceAccount.tokens"
    async with one_node(bed) as node, driver(bed.at / "kubelet") as (volumes, _registration):
        await registered(node)
        asked = [{"audience": "vault", "expirationSeconds": 3600}]
        await info(node, attachRequired=False, tokenRequests=asked, serviceAccountTokenInSecrets=apart)
        await claimed(node, "vol-1")
        await node.add("first", MOUNTS, volumes=[using("vol-1")])
        await node.until("first", running)
        publish, stage = volumes.request("publish"), volumes.request("stage")
        here, there = (
            (publish.secrets, publish.volume_context) if apart else (publish.volume_context, publish.secrets)
        )

        tokens = json.loads(here[name])
        assert set(tokens) == {"vault"}
        assert set(tokens["vault"]) == {"token", "expirationTimestamp"}
        assert tokens["vault"]["token"]
        assert tokens["vault"]["expirationTimestamp"] > datetime.now(UTC).isoformat()
        assert name not in there
        assert name not in {**stage.secrets, **stage.volume_context}
        await node.delete("first")
        await node.gone("first")
        nothing_left(bed)
    await clean(bed)


async def test_a_volume_is_mounted_once_it_is_attached(bed: Bed) -> None:
    async with (
        one_node(bed, status_every=0.3) as node,
        driver(bed.at / "kubelet") as (volumes, _registration),
    ):
        await registered(node)
        await claimed(node, "vol-2")
        await node.add("attached", MOUNTS, volumes=[using("vol-2")])
        text = 'MountVolume.SetUp failed for volume "vol-2" : volume vol-2 is not attached to node n1 yet'
        await node.until("attached", lambda _p: ("FailedMount", text) in node.events("attached"))
        name = attachment_name("vol-2", NAME, "n1")
        await node.api.request(
            "POST", f"{STORAGE}/volumeattachments", {"metadata": {"name": name}, "spec": {}}
        )
        status = {"attached": True, "attachmentMetadata": {"device": "7"}}
        await node.api.request("PATCH", f"{STORAGE}/volumeattachments/{name}/status", {"status": status})
        await node.until("attached", running)

        def in_use() -> tuple[str, ...]:
            found = node.api.one(Node, "", "n1")
            return found.status.volumes_in_use if found is not None else ()

        await until(lambda: in_use() == (f"kubernetes.io/csi/{NAME}^vol-2",))
        assert dict(volumes.request("stage").publish_context) == {"device": "7"}
        await node.delete("attached")
        await node.gone("attached")
        await until(lambda: in_use() == ())
    await clean(bed)


async def test_a_pod_that_finds_the_node_full_is_given_back(bed: Bed) -> None:
    """The attacher tells that the node takes no more; the driver is asked at once how many that are."""
    async with one_node(bed) as node, driver(bed.at / "kubelet") as (volumes, _registration):
        await info(node, nodeAllocatableUpdatePeriodSeconds=3600)
        await registered(node)
        volumes.most = 2
        await claimed(node, "vol-9")
        name = attachment_name("vol-9", NAME, "n1")
        await node.api.request(
            "POST", f"{STORAGE}/volumeattachments", {"metadata": {"name": name}, "spec": {}}
        )
        status = {"attached": False, "attachError": {"errorCode": 8, "message": "all slots are taken"}}
        await node.api.request("PATCH", f"{STORAGE}/volumeattachments/{name}/status", {"status": status})
        await node.add("full", MOUNTS, volumes=[using("vol-9")])

        pod = await node.until("full", lambda found: found.status.phase == "Failed")

        assert pod.status.reason == "VolumeAttachmentLimitExceeded"
        assert "Node has reached its volume attachment limit" in pod.status.message
        await until(
            lambda: node.api.all(CSINode)[0].spec.drivers[0].allocatable == VolumeNodeResources(count=2)
        )
        await node.delete("full")
        await node.gone("full")
    await clean(bed)


async def test_a_volume_may_be_the_pods_own(bed: Bed) -> None:
    async with one_node(bed) as node, driver(bed.at / "kubelet") as (volumes, _registration):
        await registered(node)
        own = {"name": "v", "csi": {"driver": NAME, "readOnly": True, "volumeAttributes": {"size": "1"}}}
        await node.add("early", MOUNTS, volumes=[own])
        text = f'volume mode "Ephemeral" not supported by driver {NAME} (only supports ["Persistent"])'
        await node.until(
            "early", lambda _p: any(text in message for _reason, message in node.events("early"))
        )
        await node.delete("early")
        await node.gone("early")
        await info(node, volumeLifecycleModes=["Ephemeral"], podInfoOnMount=True)
        pod = await node.add("owner", MOUNTS, volumes=[own])
        await node.until("owner", running, 40)

        publish = volumes.request("publish")
        assert "Read-only file system" in await node.execute("owner", "touch", "/v/x")
        await node.delete("owner")
        await node.gone("owner")

        assert publish.volume_id.startswith("csi-")
        assert publish.readonly
        assert publish.volume_context["csi.storage.k8s.io/ephemeral"] == "true"
        assert publish.volume_context["csi.storage.k8s.io/pod.uid"] == pod.metadata.uid
        assert volumes.asked() == ["publish", "unpublish"]
        nothing_left(bed)
    await clean(bed)


async def test_a_restart_asks_for_nothing_anew_and_takes_all_back(bed: Bed) -> None:
    api = Api(*KINDS)
    root = bed.at / "kubelet"
    async with one_node(bed, api) as node, driver(root) as (volumes, _registration):
        await registered(node)
        await info(node, attachRequired=False)
        await claimed(node, "vol-3")
        await claimed(node, "vol-4")
        await node.add("stays", MOUNTS, volumes=[using("vol-3")])
        await node.add("goes", MOUNTS, volumes=[using("vol-4")])
        await node.until("stays", running)
        await node.until("goes", running)
    found = api.all(CSINode)[0]
    goes = node.pod("goes")
    assert goes is not None
    await api.delete(goes, grace_seconds=0)

    async with one_node(bed, api) as node:
        await asyncio.sleep(1)
        assert await node.execute("stays", "ls", "/v") == ""
        async with driver(root) as (volumes, _registration):
            await until(lambda: volumes.asked() == ["unpublish", "unstage"])
            assert volumes.calls[0][1] == "vol-4"
            await node.delete("stays")
            await node.gone("stays")

    assert found.spec.drivers
    assert volumes.asked() == ["unpublish", "unstage", "unpublish", "unstage"]
    nothing_left(bed)
    await clean(bed)


async def test_what_the_driver_says_is_told(bed: Bed) -> None:
    async with one_node(bed) as node:
        await info(node, attachRequired=False)
        await claimed(node, "vol-5")
        await node.add("told", MOUNTS, volumes=[using("vol-5")])
        missing = f"driver name {NAME} not found in the list of registered CSI drivers"
        await node.until("told", lambda _p: any(missing in message for _r, message in node.events("told")))
        async with driver(bed.at / "kubelet", refuse={"stage": "no such disk"}) as (volumes, _registration):
            text = (
                'MountVolume.SetUp failed for volume "vol-5" : rpc error: code = Internal desc = no such disk'
            )
            await node.until("told", lambda _p: ("FailedMount", text) in node.events("told"))
            volumes.refuse.clear()
            await node.until("told", running)
            await node.delete("told")
            await node.gone("told")
            nothing_left(bed)
    await clean(bed)


async def test_a_driver_may_ask_to_be_asked_again(bed: Bed) -> None:
    async with one_node(bed) as node, driver(bed.at / "kubelet") as (volumes, _registration):
        await registered(node)
        await info(node, attachRequired=False, requiresRepublish=True)
        await claimed(node, "vol-6")
        pod = await node.add("fresh", MOUNTS, volumes=[using("vol-6")])
        await node.until("fresh", running)
        (worker, _task) = node.kubelet.agent.workers[pod.metadata.uid]

        worker._refresh_at = 0.0
        worker.wake()

        await until(lambda: volumes.asked("publish") == ["publish", "publish"])
        await node.delete("fresh")
        await node.gone("fresh")
        nothing_left(bed)
    await clean(bed)


async def pending(node: OneNode, handle: str, size: str, state: str = "NodeResizePending") -> None:
    """As a driver's controller leaves a claim that asked for more."""
    path = f"/api/v1/namespaces/default/persistentvolumeclaims/{handle}/status"
    status = {
        "capacity": {"storage": "1Gi"},
        "allocatedResourceStatuses": {"storage": state},
        "conditions": [{"type": "FileSystemResizePending", "status": "True"}],
    }
    await node.api.request("PATCH", path, {"status": status})
    await node.api.request(
        "PATCH", f"/api/v1/persistentvolumes/{handle}", {"spec": {"capacity": {"storage": size}}}
    )


def claim_of(node: OneNode, handle: str) -> PersistentVolumeClaim:
    found = node.api.one(PersistentVolumeClaim, "default", handle)
    assert found is not None
    return found


async def test_a_volume_grows_while_its_pod_runs_and_its_claim_says_so(bed: Bed) -> None:
    async with (
        one_node(bed) as node,
        driver(bed.at / "kubelet", abilities=(1, 3)) as (volumes, _registration),
    ):
        await registered(node)
        await info(node, attachRequired=False)
        await claimed(node, "vol-7")
        pod = await node.add("grows", MOUNTS, volumes=[using("vol-7")])
        await node.until("grows", running)
        assert volumes.asked("expand") == []
        await pending(node, "vol-7", "2Gi")
        (worker, _task) = node.kubelet.agent.workers[pod.metadata.uid]

        worker._refresh_at = 0.0
        worker.wake()

        await until(lambda: claim_of(node, "vol-7").status.capacity == {"storage": "2Gi"})
        asked, status = volumes.request("expand"), claim_of(node, "vol-7").status
        assert asked.capacity_range.required_bytes == 2 << 30
        assert asked.volume_path.endswith(f"{pod.metadata.uid}/volumes/kubernetes.io~csi/vol-7/mount")
        assert asked.staging_target_path.endswith("/globalmount")
        assert (status.conditions, status.allocated_resource_statuses) == ((), {})
        text = 'MountVolume.NodeExpandVolume succeeded for volume "vol-7" n1'
        await until(lambda: ("FileSystemResizeSuccessful", text) in node.events("grows"))
        assert ("FileSystemResizeSuccessful", text) in node.events("vol-7")
        await node.delete("grows")
        await node.gone("grows")
        nothing_left(bed)
    await clean(bed)


async def test_a_volume_that_cannot_grow_is_marked_and_not_asked_for_again(bed: Bed) -> None:
    async with (
        one_node(bed) as node,
        driver(
            bed.at / "kubelet",
            abilities=(1, 3),
            refuse={"expand": "the disk is full"},
            code=grpc.StatusCode.OUT_OF_RANGE,
        ) as (volumes, _registration),
    ):
        await registered(node)
        await info(node, attachRequired=False)
        await claimed(node, "vol-8")
        await pending(node, "vol-8", "2Gi")
        await node.add("full", MOUNTS, volumes=[using("vol-8")])
        pod = await node.until("full", running)
        status = claim_of(node, "vol-8").status

        assert volumes.asked("expand") == ["expand"]
        assert status.allocated_resource_statuses == {"storage": "NodeResizeInfeasible"}
        assert status.capacity == {"storage": "1Gi"}
        (told,) = [one for one in status.conditions if one.type == "NodeResizeError"]
        why = "rpc error: code = OutOfRange desc = the disk is full"
        assert told.message == f"failed to expand pvc with {why}"
        text = f'NodeExpandVolume.NodeExpandVolume failed for volume "vol-8" : {why}'
        await until(lambda: ("VolumeResizeFailed", text) in node.events(pod.metadata.name))
        await node.delete("full")
        await node.gone("full")
        nothing_left(bed)
    await clean(bed)


async def test_what_a_driver_says_of_use_is_told(bed: Bed) -> None:
    async with (
        one_node(bed, stats_fresh=0.2) as node,
        driver(bed.at / "kubelet", abilities=(1, 2)) as (volumes, _registration),
    ):
        await registered(node)
        await info(node, attachRequired=False)
        await claimed(node, "vol-9")
        pod = await node.add("measured", MOUNTS, volumes=[using("vol-9")])
        await node.until("measured", running)
        measure = node.kubelet.measure
        await until(lambda: measure.claimed.of(pod.metadata.uid))
        told = summary(await measure.take())
        by_claim = dict(measure.claimed.by_claim())

        (volume,) = [one for each in told["pods"] for one in each.get("volume", ()) if one["name"] == "v"]
        del volume["time"]
        assert volume == {
            "name": "v", "capacityBytes": 1000, "usedBytes": 300, "availableBytes": 700, "inodes": 50,
            "inodesUsed": 2, "inodesFree": 48, "pvcRef": {"name": "vol-9", "namespace": "default"},
        }  # fmt: skip
        assert by_claim["default", "vol-9"].used == 300
        assert volumes.request("statistics").staging_target_path.endswith("/globalmount")
        await node.delete("measured")
        await node.gone("measured")
        await until(lambda: not measure.claimed.of(pod.metadata.uid))
        nothing_left(bed)
    await clean(bed)
