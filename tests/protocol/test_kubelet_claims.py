"""Persistent volumes by their claims, and what is told while they cannot be had."""

from pathlib import Path
from typing import Any

import pytest

from kybern.api.core_v1 import PersistentVolume, PersistentVolumeClaim
from tests.protocol.containerd_bed import SLEEP, OneNode, running

pytestmark = [pytest.mark.containerd, pytest.mark.timeout(180)]


async def volume(node: OneNode, name: str, claim: str = "", **source: Any) -> None:
    """A persistent volume, and a claim that is bound to it."""
    raw: dict[str, Any] = {"metadata": {"name": name}, "spec": {"accessModes": ["ReadWriteOnce"], **source}}
    if claim:
        path = "/api/v1/namespaces/default/persistentvolumeclaims"
        claimed = {"metadata": {"name": claim, "namespace": "default"}, "spec": {"volumeName": name}}
        await node.api.request("POST", path, claimed)
        await node.api.request("PATCH", f"{path}/{claim}/status", {"status": {"phase": "Bound"}})
        found = node.api.one(PersistentVolumeClaim, "default", claim)
        assert found is not None
        raw["spec"]["claimRef"] = {"namespace": "default", "name": claim, "uid": found.metadata.uid}
    await node.api.request("POST", "/api/v1/persistentvolumes", raw)


def using(claim: str, **more: Any) -> dict[str, Any]:
    return {"name": "v", "persistentVolumeClaim": {"claimName": claim, **more}}


MOUNTS = {"name": "c", "command": SLEEP, "volumeMounts": [{"name": "v", "mountPath": "/v"}]}


def mounting(node: OneNode, name: str, text: str) -> Any:
    return lambda _pod: any(
        reason == "FailedMount" and text in message for reason, message in node.events(name)
    )


async def test_a_local_volume_is_given_to_the_group_and_outlives_the_pod(
    node: OneNode, tmp_path: Path
) -> None:
    (tmp_path / "kept").write_text("before\n")
    (tmp_path / "link").symlink_to("/etc/passwd")
    await volume(node, "pv-local", "data", local={"path": str(tmp_path)})
    owner = Path("/etc/passwd").stat().st_gid
    await node.add("uses", MOUNTS, volumes=[using("data")], securityContext={"fsGroup": 3000})

    await node.until("uses", running)
    assert await node.execute("uses", "cat", "/v/kept") == "before"
    assert await node.execute("uses", "stat", "-c", "%g %a", "/v/kept") == "3000 664"
    await node.execute("uses", "sh", "-c", "echo after > /v/kept")
    await node.delete("uses")
    await node.gone("uses")

    assert (tmp_path / "kept").read_text() == "after\n"
    assert Path("/etc/passwd").stat().st_gid == owner
    assert str(tmp_path) not in Path("/proc/self/mountinfo").read_text()


async def test_a_host_path_may_be_a_persistent_volume(node: OneNode, tmp_path: Path) -> None:
    await volume(node, "pv-host", "host", hostPath={"path": str(tmp_path)})
    await node.add("hosted", MOUNTS, volumes=[using("host")])

    await node.until("hosted", running)
    await node.execute("hosted", "touch", "/v/made")

    assert (tmp_path / "made").exists()


async def test_a_claim_is_waited_for(node: OneNode, tmp_path: Path) -> None:
    await node.add("waits", MOUNTS, volumes=[using("late")])
    head = "Unable to attach or mount volumes: unmounted volumes=[v], unattached volumes=[], failed to process volumes=[v]: "
    text = (
        f"{head}error processing PVC default/late: failed to fetch PVC from API server: "
        'persistentvolumeclaims "late" not found'
    )
    await node.until("waits", mounting(node, "waits", text))

    await volume(node, "pv-late", "late", local={"path": str(tmp_path / "nosuch")})
    missing = f'MountVolume.SetUp failed for volume "pv-late" : path "{tmp_path}/nosuch" does not exist'
    await node.until("waits", mounting(node, "waits", missing))
    (tmp_path / "nosuch").mkdir()
    await node.until("waits", running)


async def test_a_claim_that_is_bound_to_another_is_refused(node: OneNode, tmp_path: Path) -> None:
    await volume(node, "pv-one", "mine", local={"path": str(tmp_path)})
    found = node.api.one(PersistentVolume, "", "pv-one")
    assert found is not None
    stolen = {"spec": {"claimRef": {"uid": "another"}}}
    await node.api.request("PATCH", "/api/v1/persistentvolumes/pv-one", stolen)
    await node.add("robbed", MOUNTS, volumes=[using("mine")])

    text = "found PV object pv-one but its pv.Spec.ClaimRef.UID another does not point to claim.UID"
    await node.until("robbed", mounting(node, "robbed", text))


async def test_an_ephemeral_claim_must_be_the_pods_own(node: OneNode, tmp_path: Path) -> None:
    await volume(node, "pv-eph", "owns-v", local={"path": str(tmp_path)})
    template = {"spec": {"accessModes": ["ReadWriteOnce"]}}
    pod = await node.add(
        "owns", MOUNTS, volumes=[{"name": "v", "ephemeral": {"volumeClaimTemplate": template}}]
    )
    text = "PVC default/owns-v was not created for pod default/owns (pod is not owner)"
    await node.until("owns", mounting(node, "owns", text))

    owner = {"apiVersion": "v1", "kind": "Pod", "name": "owns", "uid": pod.metadata.uid, "controller": True}
    path = "/api/v1/namespaces/default/persistentvolumeclaims/owns-v"
    await node.api.request("PATCH", path, {"metadata": {"ownerReferences": [owner]}})

    await node.until("owns", running)


@pytest.mark.skipif(
    Path("/sbin/mount.nfs").exists(), reason="this machine can mount NFS, and would wait for a server"
)
async def test_what_the_mount_program_says_is_told(node: OneNode) -> None:
    source = {"server": "127.0.0.1", "path": "/exported"}
    pod = await node.add("far", MOUNTS, volumes=[{"name": "v", "nfs": source}])

    target = node.bed.at / "kubelet/pods" / pod.metadata.uid / "volumes/kubernetes.io~nfs/v"
    head = 'MountVolume.SetUp failed for volume "v" : mount failed: exit status 32\nMounting command: mount\n'
    text = f"{head}Mounting arguments: -t nfs 127.0.0.1:/exported {target}\nOutput: mount: "
    await node.until("far", mounting(node, "far", text))
