"""Volumes that are devices: a driver's, and local ones. The device is a file, by a loop device of the test's own."""

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kybern.api.core_v1 import PersistentVolumeClaim
from tests.protocol.containerd_bed import KINDS, SLEEP, Api, Bed, OneNode, clean, one_node, running
from tests.protocol.csi_driver import NAME, driver
from tests.protocol.test_kubelet_csi import info, nothing_left, registered, until

pytestmark = [pytest.mark.containerd, pytest.mark.timeout(180)]

USES = {"name": "c", "command": SLEEP, "volumeDevices": [{"name": "v", "devicePath": "/dev/own"}]}


@pytest.fixture
def device(tmp_path: Path) -> Iterator[Path]:
    """A block device that begins with "data"."""
    file = tmp_path / "disk"
    file.write_bytes(b"data" + bytes(1 << 20))
    made = subprocess.run(
        ["losetup", "-f", "--show", file], capture_output=True, text=True, check=False, timeout=10
    )
    if made.returncode:
        pytest.skip(f"no loop devices: {made.stderr.strip()}")
    found = made.stdout.strip()
    yield Path(found)
    subprocess.run(["losetup", "-d", found], check=True, timeout=10)


async def claimed(node: OneNode, handle: str, mode: str = "Block", **source: Any) -> None:
    """A volume and its claim, both called as the handle."""
    path = "/api/v1/namespaces/default/persistentvolumeclaims"
    claim = {
        "metadata": {"name": handle, "namespace": "default"},
        "spec": {"volumeName": handle, "volumeMode": mode},
    }
    await node.api.request("POST", path, claim)
    await node.api.request("PATCH", f"{path}/{handle}/status", {"status": {"phase": "Bound"}})
    found = node.api.one(PersistentVolumeClaim, "default", handle)
    assert found is not None
    spec = {
        "accessModes": ["ReadWriteOnce"], "volumeMode": mode,
        "claimRef": {"name": handle, "namespace": "default", "uid": found.metadata.uid}, **source,
    }  # fmt: skip
    await node.api.request("POST", "/api/v1/persistentvolumes", {"metadata": {"name": handle}, "spec": spec})


def using(claim: str, **more: Any) -> dict[str, Any]:
    return {"name": "v", "persistentVolumeClaim": {"claimName": claim} | more}


async def test_a_local_disk_is_given_to_a_container_as_it_is(bed: Bed, device: Path) -> None:
    async with one_node(bed, stats_fresh=0.2) as node:
        await claimed(node, "disk", local={"path": str(device)})
        pod = await node.add("disk", USES, volumes=[using("disk")])
        await node.until("disk", running)
        read = await node.execute("disk", "head", "-c", "4", "/dev/own")
        await node.execute("disk", "sh", "-c", "printf more | dd of=/dev/own conv=notrunc,fsync 2>/dev/null")
        link = bed.at / "kubelet/pods" / pod.metadata.uid / "volumeDevices/kubernetes.io~local-volume/disk"
        assert link.readlink() == device
        await until(lambda: node.kubelet.measure.claimed.of(pod.metadata.uid))
        use = node.kubelet.measure.claimed.of(pod.metadata.uid)["v"]
        await node.delete("disk")
        await node.gone("disk")

    assert read == "data"
    assert device.read_bytes()[:4] == b"more"
    assert use.capacity == (1 << 20)
    await clean(bed)


async def test_who_may_only_read_a_device_cannot_write_it(bed: Bed, device: Path) -> None:
    async with one_node(bed) as node:
        await claimed(node, "read", local={"path": str(device)})
        await node.add("read", USES, volumes=[using("read", readOnly=True)])
        await node.until("read", running)
        text = await node.execute("read", "sh", "-c", "printf no | dd of=/dev/own conv=notrunc 2>&1")
        await node.delete("read")
        await node.gone("read")

    assert "Operation not permitted" in text
    await clean(bed)


async def test_a_driver_s_device_is_staged_once_and_taken_back(bed: Bed, device: Path) -> None:
    root = bed.at / "kubelet"
    async with one_node(bed) as node, driver(root, device=device) as (volumes, _registration):
        await registered(node)
        await info(node, attachRequired=False)
        await claimed(node, "raw", csi={"driver": NAME, "volumeHandle": "handle-1"})
        pods = [await node.add(name, USES, volumes=[using("raw")]) for name in ("one", "two")]
        for name in ("one", "two"):
            await node.until(name, running)
        read = await node.execute("two", "head", "-c", "4", "/dev/own")
        stage, publish = volumes.request("stage"), volumes.request("publish")
        base = root / "plugins/kubernetes.io/csi/volumeDevices"
        links = [root / "pods" / pod.metadata.uid / "volumeDevices/kubernetes.io~csi/raw" for pod in pods]
        there = [str(link.readlink()) for link in links]
        await node.delete("one")
        await node.gone("one")
        assert volumes.asked("unstage") == []
        await node.delete("two")
        await node.gone("two")

        assert read == "data"
        assert stage.volume_capability.WhichOneof("access_type") == "block"
        assert stage.staging_target_path == publish.staging_target_path == str(base / "staging/raw")
        assert there == [str(base / "publish/raw" / pod.metadata.uid) for pod in pods]
        assert publish.target_path in there
        assert volumes.asked("unpublish", "unstage") == ["unpublish", "unpublish", "unstage"]
        assert [path for path in base.rglob("*") if path.name not in {"staging", "publish"}] == []
        nothing_left(bed)
    await clean(bed)


async def test_a_restart_takes_a_device_back(bed: Bed, device: Path) -> None:
    api = Api(*KINDS)
    root = bed.at / "kubelet"
    async with one_node(bed, api) as node, driver(root, device=device):
        await registered(node)
        await info(node, attachRequired=False)
        await claimed(node, "raw-2", csi={"driver": NAME, "volumeHandle": "handle-2"})
        pod = await node.add("goes", USES, volumes=[using("raw-2")])
        await node.until("goes", running)
    await api.delete(pod, grace_seconds=0)

    async with one_node(bed, api), driver(root, device=device) as (volumes, _registration):
        await until(lambda: volumes.asked() == ["unpublish", "unstage"], 40)
        await until(lambda: not (root / "pods" / pod.metadata.uid).exists())
    await clean(bed)


async def test_a_volume_is_used_as_what_it_is(bed: Bed, device: Path) -> None:
    mounts = {"name": "c", "command": SLEEP, "volumeMounts": [{"name": "v", "mountPath": "/v"}]}
    async with one_node(bed) as node:
        await claimed(node, "block", local={"path": str(device)})
        await claimed(node, "files", "Filesystem", local={"path": "/tmp"})
        await claimed(node, "none", local={"path": "/nowhere"})
        await node.add("mounts", mounts, volumes=[using("block")])
        await node.add("devices", USES, volumes=[using("files")])
        await node.add("missing", USES, volumes=[using("none")])

        def told(name: str, reason: str, text: str) -> bool:
            return any(found == reason and text in message for found, message in node.events(name))

        await until(
            lambda: told(
                "mounts", "FailedMount", "volume v has volumeMode Block, but is specified in volumeMounts"
            )
        )
        text = "volume v has volumeMode Filesystem, but is specified in volumeDevices"
        await until(lambda: told("devices", "FailedMount", text))
        text = 'MapVolume.MapPodDevice failed for volume "none" : path "/nowhere" is not a block device'
        await until(lambda: told("missing", "FailedMapVolume", text))
        started = time.monotonic()
        for name in ("mounts", "devices", "missing"):
            await node.delete(name)
            await node.gone(name)
        assert time.monotonic() - started < 30
    await clean(bed)
