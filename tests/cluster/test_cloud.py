"""libvirt as the cloud of a small cluster of its own: nodes are what their machines are."""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kybern.machines.plan import domain_name
from tests.cluster.conftest import Lab, made_apart

pytestmark = pytest.mark.small
TOPOLOGY = "cloud"
UNINITIALIZED = "node.cloudprovider.kubernetes.io/uninitialized"
SHUTDOWN = "node.cloudprovider.kubernetes.io/shutdown"
ZONE, TYPE = "topology.kubernetes.io/zone", "node.kubernetes.io/instance-type"
LEFT = "ls -d /etc/systemd/system/kybern-libvirt* /etc/systemd/system/cloud-* /run/kybern-libvirt 2>/dev/null; true"
NOT_READY = 120.0  # seconds until a silent node is not ready, and its machine asked for


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with made_apart(TOPOLOGY) as found:
        yield found


def virsh(*words: str) -> str:
    command = ["virsh", "--connect", "lxc:///system", *words]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout.strip()


def nodes(lab: Lab) -> dict[str, Any]:
    return {one["metadata"]["name"]: one for one in lab.get("nodes")["items"]}


def taints(lab: Lab, name: str) -> set[str]:
    return {one["key"] for one in nodes(lab)[name]["spec"].get("taints", ())}


def domain(lab: Lab, name: str) -> str:
    return domain_name(lab.cluster.name, name)


def test_nodes_are_told_what_their_machines_are(lab: Lab) -> None:
    names = {one.name for one in lab.cluster.machines}
    lab.eventually(
        "no node waits for the cloud",
        lambda: set(nodes(lab)) == names and not any(UNINITIALIZED in taints(lab, name) for name in names),
    )
    for name, node in nodes(lab).items():
        assert node["spec"]["providerID"] == f"libvirt://local/{virsh('domuuid', domain(lab, name))}"
        assert node["metadata"]["labels"][ZONE] == "local"
        assert node["metadata"]["labels"][TYPE] == "cpu2-mem2048"
    assert lab.nodes_ready() == names


def test_a_second_deploy_changes_nothing(lab: Lab) -> None:
    assert re.search(r"^0 changes", lab.kybern("deploy", TOPOLOGY).stdout, re.MULTILINE)
    lab.kybern("status", TOPOLOGY)


def test_a_machine_that_is_switched_off_is_marked_until_it_is_back(lab: Lab) -> None:
    lab.kybern("machines", "stop", TOPOLOGY, "worker-1")
    lab.eventually("it is marked", lambda: SHUTDOWN in taints(lab, "worker-1"), NOT_READY)

    lab.kybern("machines", "start", TOPOLOGY, "worker-1")
    lab.eventually("the mark goes", lambda: SHUTDOWN not in taints(lab, "worker-1"))


def test_the_node_of_a_machine_that_is_gone_goes(lab: Lab, tmp_path: Path) -> None:
    gone, kept = domain(lab, "worker-2"), tmp_path / "domain.xml"
    lab.kybern("machines", "kill", TOPOLOGY, "worker-2")
    kept.write_text(virsh("dumpxml", "--inactive", gone))
    virsh("undefine", gone)
    try:
        lab.eventually("the node goes", lambda: set(nodes(lab)) == {"master-1", "worker-1"}, NOT_READY)
    finally:
        virsh("define", str(kept))  # what takes the lab down finds all of its machine


def test_nothing_of_it_is_left_after_a_reset(lab: Lab) -> None:
    assert "kybern-libvirt" in lab.ssh("master-1", LEFT)
    lab.pyinfra(lab.topology.parents[1] / f"{TOPOLOGY}.py", "deploys/reset.py", "--limit", "master-1")

    assert lab.ssh("master-1", LEFT) == ""
