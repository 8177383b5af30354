"""libvirt as the cloud of three masters: one of their daemons leads, and when it is gone another one does its duties."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from kybern.machines.load import load
from tests.cluster.conftest import Lab
from tests.cluster.test_cloud import NOT_READY, SHUTDOWN, UNINITIALIZED, taints

pytestmark = pytest.mark.operations
MASTERS = ("master-1", "master-2", "master-3")
TAKEN_OVER = 60.0  # seconds; a lease that nobody gives back lasts 15


@pytest.fixture(scope="module")
def topology(tmp_path_factory: pytest.TempPathFactory) -> Path:
    described = {
        "cluster": "cloud-leads",
        "network": "10.70.0.0/24",
        "vip": "10.70.0.10",
        "cloud": "libvirt",
        "defaults": {"memory": "2GiB", "cpus": 2, "disk": "10GiB"},
        "machines": [
            {"name": name, "address": f"10.70.0.1{number}", "roles": ["etcd", "control-plane"]}
            for number, name in enumerate(MASTERS, 1)
        ],
    }
    path = tmp_path_factory.mktemp("leads") / "cloud-leads.yaml"
    path.write_text(yaml.safe_dump(described))
    return path


@pytest.fixture(scope="module")
def lab(topology: Path) -> Iterator[Lab]:
    found = Lab(load(topology))
    try:
        found.kybern("machines", "up", str(topology), seconds=900)
        found.kybern("deploy", str(topology), seconds=900)
        yield found
    finally:
        found.kybern("machines", "down", str(topology), check=False)


def leader(lab: Lab) -> tuple[str, str]:
    """The machine that leads, and the process on it."""
    lease = lab.get("lease", "cloud-controller-manager", "-n", "kube-system")
    machine, _, process = lease["spec"]["holderIdentity"].partition("_")
    return machine, process


def another_leads(lab: Lab, old: tuple[str, str]) -> bool:
    machine, process = leader(lab)
    return bool(process) and (machine, process) != old


def test_every_node_is_known_whoever_leads(lab: Lab) -> None:
    lab.eventually("all nodes are ready", lambda: lab.nodes_ready() == set(MASTERS), 120)
    assert leader(lab)[0] in MASTERS
    assert not any(UNINITIALIZED in taints(lab, name) for name in MASTERS)


def test_a_leader_that_is_killed_is_followed(lab: Lab) -> None:
    old = leader(lab)
    lab.ssh(old[0], "systemctl kill --signal=KILL cloud-controller-manager")
    lab.eventually("another process leads", lambda: another_leads(lab, old), TAKEN_OVER)


def test_a_leader_whose_machine_goes_down_is_marked_by_the_next_one(lab: Lab, topology: Path) -> None:
    old = leader(lab)
    lab.kybern("machines", "kill", str(topology), old[0])
    lab.eventually("another machine leads", lambda: another_leads(lab, old), TAKEN_OVER)
    lab.eventually("its machine is marked", lambda: SHUTDOWN in taints(lab, old[0]), NOT_READY)

    lab.kybern("machines", "start", str(topology), old[0])
    lab.eventually("the mark goes", lambda: SHUTDOWN not in taints(lab, old[0]), 120)
