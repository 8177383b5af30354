"""Users of a pod's own, and mounts below which nothing can be written: with a runtime that can, and with one that cannot.

containerd can since 2.0, with a runc that maps mounts (1.2); ``KYBERN_CONTAINERD`` names the directory of another one.
"""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from kybern.kubelet.volumes import kernel
from tests.protocol.containerd_bed import SLEEP, OneNode, first, running, waits_for

pytestmark = [pytest.mark.containerd, pytest.mark.timeout(180)]

MOUNT = {"name": "v", "mountPath": "/v"}


def refused(node: OneNode, name: str, reason: str, text: str) -> Any:
    return lambda _pod: any(said == reason and text in message for said, message in node.events(name))


async def can(node: OneNode, what: str) -> bool:
    """Whether the runtime says so of its usual handler."""
    handlers = (await node.runtime.abilities()).handlers
    return any(not one.name and getattr(one, what) for one in handlers)


async def test_pods_have_users_of_their_own_where_the_runtime_can(node: OneNode) -> None:
    for name in ("one", "two"):
        await node.add(
            name, {"name": "c", "command": SLEEP, "volumeMounts": [MOUNT]}, hostUsers=False,
            volumes=[{"name": "v", "emptyDir": {}}],
        )  # fmt: skip
    if not await can(node, "user_namespaces"):
        text = "can't set `spec.hostUsers: false`, runtime does not support user namespaces"
        pod = await node.until("one", refused(node, "one", "FailedCreatePodSandBox", text))
        assert pod.status.phase == "Pending"
        return

    pods = [await node.until(name, running) for name in ("one", "two")]
    maps = [(await node.execute(name, "cat", "/proc/self/uid_map")).split() for name in ("one", "two")]

    assert [inside for inside, _outside, _length in maps] == ["0", "0"]
    assert {outside for _inside, outside, _length in maps} == {"65536", "131072"}
    await node.execute("one", "touch", "/v/by-root")
    home = Path(node.kubelet.settings.root_dir) / "pods" / pods[0].metadata.uid
    assert (home / "userns").exists()
    (written,) = home.glob("volumes/*/v/by-root")
    assert written.stat().st_uid == 0, "the mount maps the pod's root to the node's"


@pytest.mark.parametrize("said", ["Enabled", "IfPossible"])
async def test_nothing_below_a_mount_can_be_written(node: OneNode, tmp_path: Path, said: str) -> None:
    below = tmp_path / "below"
    below.mkdir()
    await asyncio.to_thread(kernel.mount, "none", below, "tmpfs", ())
    name = said.lower()
    try:
        mount = {**MOUNT, "readOnly": True, "recursiveReadOnly": said}
        await node.add(
            name, {"name": "c", "command": SLEEP, "volumeMounts": [mount]},
            volumes=[{"name": "v", "hostPath": {"path": str(tmp_path)}}],
        )  # fmt: skip
        able = await can(node, "recursive_read_only")
        if said == "Enabled" and not able:
            pod = await node.until(name, waits_for("CreateContainerConfigError"))
            assert "but it is not supported by the runtime" in first(pod).state.waiting.message
            return

        pod = await node.until(name, running)

        told = next(one for one in first(pod).volume_mounts if one.name == "v")
        assert told.recursive_read_only == ("Enabled" if able else "Disabled")
        said_of_writing = await node.execute(name, "touch", "/v/below/x")
        assert ("Read-only file system" in said_of_writing) is able
        await node.delete(name)
    finally:
        await asyncio.to_thread(kernel.unmount, below, lazily=True)


async def test_nobody_writes_into_a_volume_that_the_kubelet_writes(node: OneNode) -> None:
    fields = [{"path": "name", "fieldRef": {"fieldPath": "metadata.name"}}]
    volumes: dict[str, Any] = {
        "map": {"configMap": {"name": "none", "optional": True}},
        "secret": {"secret": {"secretName": "none", "optional": True}},
        "own": {"downwardAPI": {"items": fields}},
        "all": {"projected": {"sources": [{"downwardAPI": {"items": fields}}]}},
    }
    mounts = [{"name": name, "mountPath": f"/{name}"} for name in volumes]
    await node.add(
        "reads", {"name": "c", "command": SLEEP, "volumeMounts": mounts},
        volumes=[{"name": name, **source} for name, source in volumes.items()],
    )  # fmt: skip

    await node.until("reads", running)

    for name in volumes:
        assert "Read-only file system" in await node.execute("reads", "touch", f"/{name}/x")
