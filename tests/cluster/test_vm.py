"""One real virtual machine that is everything: booted, deployed, Ready. Without KVM it is emulated, which takes minutes."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from kybern.machines.load import load
from kybern.machines.state import State
from tests.cluster.conftest import Lab

pytestmark = [pytest.mark.vm, pytest.mark.timeout(3000)]
TOPOLOGY = "single"


@pytest.fixture(scope="module")
def machine() -> Iterator[Lab]:
    found = Lab(load(Path(f"inventories/topology/{TOPOLOGY}.yaml")))
    if State.of(found.cluster.name).directory.exists():
        pytest.fail(f"there is a cluster {TOPOLOGY} already: run 'kybern machines down {TOPOLOGY}' first")
    try:
        found.kybern("machines", "up", TOPOLOGY, "--driver", "qemu", seconds=1200)
        found.kybern("deploy", TOPOLOGY, "--driver", "qemu", seconds=1800)
        yield found
    finally:
        if not os.environ.get("KYBERN_KEEP"):
            found.kybern("machines", "down", TOPOLOGY, check=False)


def test_a_virtual_machine_becomes_a_cluster(machine: Lab) -> None:
    machine.eventually("the node is ready", lambda: machine.nodes_ready() == {"node-1"}, seconds=300)

    kernel = machine.ssh("node-1", "uname -r; stat -fc %T /sys/fs/cgroup").split()
    assert kernel[1] == "cgroup2fs", "its own kernel, with cgroups of version 2"


def test_a_pod_runs_in_it_within_its_limits(machine: Lab) -> None:
    limits = {"limits": {"memory": "32Mi", "cpu": "200m"}}
    container = {
        "name": "c", "image": "busybox:1.36", "command": ["sh", "-c", "cat /sys/fs/cgroup/memory.max"], "resources": limits,
    }  # fmt: skip
    pod = {
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "limited"},
        "spec": {"restartPolicy": "Never", "containers": [container]},
    }  # fmt: skip
    machine.eventually(
        "the default service account", lambda: machine.kubectl("get", "sa", "default"), seconds=120
    )
    machine.kubectl("create", "-f", "-", stdin=json.dumps(pod))

    def ended() -> bool:
        return bool(machine.get("pod", "limited")["status"].get("phase") == "Succeeded")

    machine.eventually("the pod has ended", ended, seconds=180)
    assert machine.kubectl("logs", "limited").strip() == str(32 << 20)
