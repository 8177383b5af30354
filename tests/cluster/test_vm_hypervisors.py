"""Virtual machines on two hypervisors, each in a host of its own as far as its network and its files go.

What they say to each other goes over the bridges of both hosts. At the end they become a cluster.
"""

import shutil
import subprocess
from collections.abc import Iterator
from ipaddress import IPv4Network
from pathlib import Path

import pytest
import yaml

from kybern.machines.load import load
from kybern.machines.state import State
from tests.cluster.conftest import Lab
from tests.cluster.pods import Place, server

pytest.importorskip("libvirt")

from tests.protocol.hypervisors_bed import BRIDGE, Host, able, hosts

pytestmark = [
    pytest.mark.vm,
    pytest.mark.operations,
    pytest.mark.timeout(3000),
    pytest.mark.skipif(bool(able()), reason=able()),
    pytest.mark.skipif(not shutil.which("qemu-system-x86_64"), reason="there is no qemu"),
]
NETWORK, NAME = IPv4Network("10.61.0.0/24"), "racks"
BESIDE = {"bridge": BRIDGE, "address": "10.62.0.21/24"}
MACHINES = [
    {"name": "master-1", "address": "10.61.0.11", "roles": ["etcd", "control-plane"]},
    {"name": "worker-1", "address": "10.61.0.21", "roles": ["worker"], "networks": [BESIDE]},
]


class Racks:
    """Two hypervisors and the topology that names them."""

    def __init__(self, place: Path, found: list[Host]) -> None:
        self.hosts, self.path = found, place / f"{NAME}.yaml"
        topology = {
            "cluster": NAME,
            "network": str(NETWORK),
            "driver": "qemu",
            "bridge": BRIDGE,
            "hypervisors": {one.name: one.uri for one in found},
            "defaults": {"memory": "2GiB", "cpus": 2, "disk": "10GiB"},
            "machines": MACHINES,
        }
        self.path.write_text(yaml.safe_dump(topology))
        self.lab = Lab(load(self.path))

    def up(self) -> None:
        """Two emulated machines beside others may boot for longer than a run waits; the next one goes on waiting."""
        for _ in range(3):
            if self.lab.kybern("machines", "up", str(self.path), check=False, seconds=1200).returncode == 0:
                return
        self.kybern("up")

    def kybern(self, verb: str, *words: str) -> subprocess.CompletedProcess[str]:
        return self.lab.kybern("machines", verb, str(self.path), *words, seconds=1200)


@pytest.fixture(scope="module")
def racks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Racks]:
    place = tmp_path_factory.mktemp("racks")
    with hosts(place, NETWORK, "rack-1", "rack-2") as found:
        made = Racks(place, found)
        made.up()
        yield made
        made.kybern("down")
        for host in found:
            assert host.domains() == {}
            assert not [name for name in host.volumes() if name.startswith("kybern.")]
        assert not State.of(NAME).directory.exists()


def test_each_host_has_a_machine_and_they_reach_each_other(racks: Racks) -> None:
    assert [list(host.domains()) for host in racks.hosts] == [["racks-master-1"], ["racks-worker-1"]]

    assert racks.lab.ssh("master-1", "hostname").strip() == "master-1"
    said = racks.lab.ssh("master-1", "ping -c 1 -W 10 10.61.0.21")
    assert "1 received" in said


def test_a_second_run_changes_nothing(racks: Racks) -> None:
    assert " 0 changes" in racks.kybern("up").stdout


def test_a_further_network_is_an_interface_with_its_address(racks: Racks) -> None:
    said = racks.lab.ssh("worker-1", "ip -brief -4 address show")

    assert [line.split()[2] for line in said.splitlines() if line.startswith("eth")] == [
        "10.61.0.21/24",
        "10.62.0.21/24",
    ]


def test_a_machine_is_switched_off_and_on_where_it_is(racks: Racks) -> None:
    racks.lab.ssh("worker-1", "echo kept >/root/file && sync")
    racks.kybern("kill", "worker-1")
    listed = [line.split() for line in racks.kybern("list").stdout.splitlines()[1:]]
    assert [(one[1], one[3], one[-1]) for one in listed] == [
        ("master-1", "rack-1", "running"),
        ("worker-1", "rack-2", "off"),
    ]

    racks.up()

    assert racks.lab.ssh("worker-1", "cat /root/file").strip() == "kept"


def test_they_become_a_cluster_whose_pods_reach_each_other(racks: Racks) -> None:
    lab, topology = racks.lab, str(racks.path)
    lab.kybern("deploy", topology, seconds=2400)
    names = {"master-1", "worker-1"}
    lab.eventually("both are ready", lambda: lab.nodes_ready() == names, seconds=600)
    zones = {
        node["metadata"]["name"]: node["metadata"]["labels"]["topology.kubernetes.io/zone"]
        for node in lab.get("nodes")["items"]
    }
    assert zones == {"master-1": "rack-1", "worker-1": "rack-2"}

    lab.eventually("the default service account", lambda: lab.kubectl("get", "sa", "default"), seconds=120)
    place = Place.made(lab, "default")
    place.apply(*(server(f"on-{name}", name) for name in names))
    place.kubectl("wait", "pod", "--all", "--for=condition=Ready", "--timeout=300s", seconds=330)
    for asking, asked in (("master-1", "worker-1"), ("worker-1", "master-1")):
        address = place.get("pod", f"on-{asked}")["status"]["podIP"]
        place.answers(f"on-{asking}", {f"on-{asked}"}, "http", f"{address}:8080/hostname", seconds=120)

    assert "0 changes on 2 machines" in lab.kybern("deploy", topology, seconds=1200).stdout
