"""Volumes on a disk of their own whose file system limits projects: nobody writes more than was promised."""

import json
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest

from tests.cluster.conftest import Lab
from tests.cluster.virtual_machine import NODE, pod

pytestmark = [pytest.mark.vm, pytest.mark.operations, pytest.mark.timeout(3000)]
VOLUMES, DISK, MIB = "/var/lib/kybern-volumes", "/var/lib/disk-of-volumes", 2**20
MAKE = {"xfs": "mkfs.xfs -q -f", "ext4": "mkfs.ext4 -q -F -O quota,project"}
# XFS has no word of its own for it.
FULL = ("No space left on device", "Disk quota exceeded")


@pytest.fixture(params=sorted(MAKE))
def kind(machine: Lab, request: pytest.FixtureRequest) -> Iterator[str]:
    """The file system below the node's volumes, while the test lasts."""
    again = "systemctl restart kybern-local-volumes"
    made = f"truncate -s 400M {DISK} && {MAKE[request.param]} {DISK}"
    machine.ssh(NODE, f"{made} && mount -o loop,prjquota {DISK} {VOLUMES} && {again}", seconds=180)
    try:
        yield request.param
    finally:
        machine.ssh(NODE, f"umount {VOLUMES}; rm -f {DISK}; {again}", seconds=120)


def claim(name: str, size: int) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": name},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": f"{size}Mi"}}},
    }


def user(name: str) -> dict[str, Any]:
    """A pod with the claim of its name."""
    volumes = [{"name": "data", "persistentVolumeClaim": {"claimName": name}}]
    mount = {"volumeMounts": [{"name": "data", "mountPath": "/data"}]}
    return pod(
        name, "trap 'exit 0' TERM; while :; do sleep 1 & wait $!; done", container=mount, volumes=volumes
    )


class Volume:
    """One that is in use by a pod of its claim's name."""

    def __init__(self, machine: Lab, namespace: str, name: str, size: int) -> None:
        self.machine, self.namespace, self.name = machine, namespace, name
        machine.apply(namespace, claim(name, size), user(name))
        wait = ("wait", f"pod/{name}", "--for=condition=Ready", "--timeout=180s")
        machine.kubectl(*wait, "-n", namespace, seconds=200)

    def run(self, script: str) -> str:
        words = ("exec", self.name, "-n", self.namespace, "--", "sh", "-c", script)
        return self.machine.kubectl(*words, check=False, seconds=120)

    def write(self, size: int) -> str:
        """A file of so many MiB; what is said of it."""
        return self.run(f"dd if=/dev/zero of=/data/big bs=1M count={size} && sync -f /data")

    def length(self) -> int:
        return int(self.run("stat -c %s /data/big"))

    def size(self) -> int:
        """MiB, as programs in the pod see it."""
        return int(self.run("df -k /data | tail -n 1").split()[1]) // 1024

    def promised(self) -> str:
        found = self.machine.get("pvc", self.name, "-n", self.namespace)["status"]["capacity"]["storage"]
        return str(found)

    def use(self) -> dict[str, int]:
        """What the kubelet tells of it."""
        summary = json.loads(
            self.machine.kubectl("get", "--raw", f"/api/v1/nodes/{NODE}/proxy/stats/summary")
        )
        (found,) = (
            volume
            for one in summary["pods"]
            if (one["podRef"]["namespace"], one["podRef"]["name"]) == (self.namespace, self.name)
            for volume in one.get("volume", [])
            if volume["name"] == "data"
        )
        return dict(found)


def test_a_volume_holds_what_was_promised_and_no_more(machine: Lab, vm_namespace: str, kind: str) -> None:
    found = Volume(machine, vm_namespace, "data", 32)
    assert f" {VOLUMES} {kind} " in machine.ssh(NODE, "cat /proc/mounts")
    assert found.size() == 32

    said = found.write(64)
    assert any(word in said for word in FULL), said
    assert 28 * MIB <= found.length() <= 32 * MIB

    grown = json.dumps({"spec": {"resources": {"requests": {"storage": "64Mi"}}}})
    machine.kubectl("patch", "pvc", "data", "-n", vm_namespace, "-p", grown)
    machine.eventually("it has grown", lambda: found.promised() == "64Mi", seconds=90)
    assert found.size() == 64
    said = found.write(48)
    assert found.length() == 48 * MIB, said

    def told() -> bool:
        use = found.use()
        return use["capacityBytes"] == 64 * MIB and 48 * MIB <= use["usedBytes"] <= 50 * MIB

    machine.eventually("the kubelet tells its use", told, seconds=150)

    machine.kubectl("delete", "pod,pvc", "data", "-n", vm_namespace, "--timeout=120s", seconds=150)
    machine.eventually("its directory is gone", partial(is_empty, machine), seconds=60)
    again = Volume(machine, vm_namespace, "again", 40)
    assert (again.size(), again.run("ls /data")) == (40, ""), "nothing of the volume that had its number"
    machine.kubectl("delete", "pod,pvc", "again", "-n", vm_namespace, "--timeout=120s", seconds=150)
    machine.eventually("its directory is gone, too", partial(is_empty, machine), seconds=60)


def is_empty(machine: Lab) -> bool:
    return set(machine.ssh(NODE, f"ls {VOLUMES}").split()) <= {"lost+found"}
