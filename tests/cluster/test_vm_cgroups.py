"""Cgroups that systemd makes, where systemd owns the machine: the slices of pods, their limits and their end; swap."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.cluster.conftest import Lab
from tests.cluster.virtual_machine import NODE, ended, kubelet_with, pod, restart_kubelet

pytestmark = [pytest.mark.vm, pytest.mark.timeout(3000)]
SWAP = "/var/lib/swap"
MIB, PAGE = 2**20, 4096
SLEEP = "trap 'exit 0' TERM; sleep 3600 & wait"
EXACTLY = {"cpu": "100m", "memory": "32Mi"}
QOS: dict[str, dict[str, Any]] = {
    "guaranteed": {"limits": EXACTLY},
    "burstable": {"requests": {"memory": "32Mi"}, "limits": {"cpu": "200m", "memory": "64Mi"}},
    "besteffort": {},
}


def pods(script: str) -> list[dict[str, Any]]:
    return [pod(name, script, container={"resources": found}) for name, found in QOS.items()]


def slice_of(name: str, uid: str) -> str:
    return f"kubepods{'' if name == 'guaranteed' else f'-{name}'}-pod{uid.replace('-', '_')}.slice"


def limits(machine: Lab, unit: str) -> dict[str, str]:
    """As systemd knows them, and as the kernel has them."""
    told = machine.ssh(
        NODE,
        f"systemctl show {unit} -p MemoryMax,CPUQuotaPerSecUSec,ControlGroup; "
        f"cd /sys/fs/cgroup$(systemctl show {unit} -p ControlGroup --value) && "
        "echo memory=$(cat memory.max); echo cpu=$(cat cpu.max)",
    )
    return dict(line.split("=", 1) for line in told.splitlines())


def test_pods_are_slices_that_keep_their_limits(machine: Lab, vm_namespace: str) -> None:
    machine.apply(vm_namespace, *pods(SLEEP))
    machine.kubectl(
        "wait", "pod", "--all", "-n", vm_namespace, "--for=condition=Ready", "--timeout=120s", seconds=150
    )
    found = {name: machine.get("pod", name, "-n", vm_namespace) for name in QOS}
    units = {name: slice_of(name, one["metadata"]["uid"]) for name, one in found.items()}
    before = {name: limits(machine, unit) for name, unit in units.items()}

    above = {"guaranteed": ""} | {name: f"kubepods-{name}.slice/" for name in ("burstable", "besteffort")}
    for name, unit in units.items():
        assert before[name]["ControlGroup"] == f"/kubepods.slice/{above[name]}{unit}"
        (state,) = found[name]["status"]["containerStatuses"]
        identity = state["containerID"].removeprefix("containerd://")
        scope = f"/sys/fs/cgroup{before[name]['ControlGroup']}/cri-containerd-{identity}.scope"
        assert machine.ssh(NODE, f"cat {scope}/cgroup.procs").split(), (
            "its processes are in a scope of systemd's"
        )
    assert [before[name]["memory"] for name in QOS] == [str(32 * MIB), str(64 * MIB), "max"]
    assert [before[name]["MemoryMax"] for name in QOS] == [str(32 * MIB), str(64 * MIB), "infinity"]
    assert [before[name]["cpu"] for name in QOS] == ["10000 100000", "20000 100000", "max 100000"]

    # systemd writes anew what it knows of.
    machine.ssh(NODE, "systemctl daemon-reload")
    restart_kubelet(machine)
    assert {name: limits(machine, unit) for name, unit in units.items()} == before
    for name, one in found.items():
        status = machine.get("pod", name, "-n", vm_namespace)["status"]
        assert status["containerStatuses"] == one["status"]["containerStatuses"], "nothing was run again"

    machine.kubectl("delete", "pod", "--all", "-n", vm_namespace, "--timeout=60s", seconds=90)
    listed = "systemctl list-units --all --plain --no-legend 'kubepods*pod*.slice'"
    machine.eventually(
        "their slices are gone",
        lambda: not set(units.values()) & set(machine.ssh(NODE, listed).split()),
        seconds=60,
    )


@pytest.fixture
def swap(machine: Lab) -> Iterator[tuple[int, int]]:
    """A node with swap: bytes of it, and of memory."""
    machine.ssh(NODE, f"fallocate -l 256M {SWAP} && chmod 600 {SWAP} && mkswap -q {SWAP} && swapon {SWAP}")
    read = "awk '/^(MemTotal|SwapTotal):/ {print $2 * 1024}' /proc/meminfo"
    try:
        memory, whole = map(int, machine.ssh(NODE, read).split())
        yield whole, memory
    finally:
        machine.ssh(NODE, f"swapoff {SWAP}; rm -f {SWAP}", seconds=120)


@pytest.mark.operations
def test_a_container_swaps_as_much_as_it_may(machine: Lab, vm_namespace: str, swap: tuple[int, int]) -> None:
    whole, memory = swap
    share = 32 * MIB * whole // memory // PAGE * PAGE
    for behavior, burstable in (("LimitedSwap", share), ("NoSwap", 0)):
        with kubelet_with(machine, memorySwap={"swapBehavior": behavior}):
            machine.apply(vm_namespace, *pods("cat /sys/fs/cgroup/memory.swap.max"))
            said = {name: ended(machine, vm_namespace, name) for name in QOS}
            machine.kubectl("delete", "pod", "--all", "-n", vm_namespace, "--timeout=60s", seconds=90)
        assert said == {"guaranteed": "0", "burstable": str(burstable), "besteffort": "0"}, behavior
