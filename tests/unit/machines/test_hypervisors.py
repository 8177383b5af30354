"""Hypervisors and networks in a topology: what is read, and what is refused in which words."""

from ipaddress import IPv4Interface
from pathlib import Path
from typing import Any

import pytest
import yaml

from kybern.cli import machines as command
from kybern.machines import volumes
from kybern.machines.errors import MachineError, TopologyError
from kybern.machines.fleet import Fleet
from kybern.machines.inventory import inventory
from kybern.machines.load import load
from kybern.machines.state import State
from kybern.machines.topology import Attached, Cluster

ONE, TWO = "qemu+ssh://root@rack-1.example/system", "qemu+tls://rack-2.example/system"
MASTER: dict[str, Any] = {"name": "a", "address": "10.8.0.11", "roles": ["etcd", "control-plane"]}
WORKER: dict[str, Any] = {"name": "b", "address": "10.8.0.21", "roles": ["worker"]}
GOOD: dict[str, Any] = {
    "cluster": "racks",
    "network": "10.8.0.0/24",
    "driver": "qemu",
    "hypervisors": {"rack-1": ONE, "rack-2": TWO},
    "bridge": "br0",
    "machines": [MASTER, WORKER],
}


def written(tmp_path: Path, **more: object) -> Path:
    path = tmp_path / "racks.yaml"
    topology = {key: value for key, value in (GOOD | more).items() if value is not None}
    path.write_text(yaml.safe_dump(topology, sort_keys=False))
    return path


def test_hypervisors_are_uris_by_name_with_what_each_of_them_has(tmp_path: Path) -> None:
    found = load(written(tmp_path, pool="fast", machines=[MASTER | {"hypervisor": "rack-2"}, WORKER]))

    assert found.hypervisors == (("rack-1", ONE), ("rack-2", TWO))
    assert (found.bridge, found.pool) == ("br0", "fast")
    assert [each.hypervisor for each in found.machines] == ["rack-2", ""]


def with_networks(*networks: dict[str, str]) -> list[dict[str, Any]]:
    return [MASTER | {"networks": list(networks)}, WORKER | {"networks": [BESIDE]}]


BESIDE = {"bridge": "br1", "address": "10.50.0.21/24"}


def test_further_networks_are_bridges_or_libvirt_s_with_an_address_or_without(tmp_path: Path) -> None:
    networks = with_networks({"bridge": "br1", "address": "10.50.0.11/24"}, {"network": "isolated"})

    assert load(written(tmp_path, machines=networks)).machines[0].networks == (
        Attached("bridge", "br1", IPv4Interface("10.50.0.11/24")),
        Attached("network", "isolated"),
    )


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (
            {"machines": [MASTER | {"hypervisor": "rack-9"}, WORKER]},
            'there is no hypervisor "rack-9" for a; "hypervisors" has rack-1, rack-2',
        ),
        (
            {"hypervisors": None, "bridge": None, "machines": [MASTER | {"hypervisor": "rack-1"}]},
            'there is no hypervisor "rack-1" for a; "hypervisors" has none; add them',
        ),
        ({"hypervisors": None}, '"bridge" is of "hypervisors", which are not there; add them, or leave it out'),
        (
            {"hypervisors": None, "bridge": None, "pool": "fast"},
            '"pool" is of "hypervisors", which are not there; add them, or leave it out',
        ),
        ({"driver": "lxc"}, '"hypervisors" are for virtual machines, and this topology has "driver: lxc"; say "dri'),
        ({"bridge": None}, '"hypervisors" need "bridge", the name of a bridge that each of them has; add it'),
        ({"bridge": "a-name-that-is-too-long"}, '"a-name-that-is-too-long" is not the name of a bridge'),
        (
            {"hypervisors": {"rack-1": "lxc:///system"}},
            'hypervisor rack-1: "lxc:///system" is no URI of virtual machines; write qemu+ssh://USER@HOST/system, qemu+tls',
        ),
        (
            {"hypervisors": {"rack-1": ONE, "rack-2": ONE}},
            f"hypervisors rack-1 and rack-2 are the same, {ONE}; remove one of the two",
        ),
        ({"hypervisors": ["rack-1"]}, '"hypervisors" must be a mapping of names to URIs of libvirt\'s'),
        (
            {"cloud": {"hypervisors": {"rack-1": TWO}}},
            '"cloud" has the hypervisors rack-1, and "hypervisors" has rack-1, rack-2; name the same in both',
        ),
        ({"machines": with_networks({"bridge": "br1", "network": "x"})}, 'a network is either a "bridge" or a "net'),
        ({"machines": with_networks({})}, 'a network is either a "bridge" or a "network" of libvirt\'s; name one'),
        (
            {"machines": with_networks({"bridge": "br1", "address": "10.50.0.11"})},
            '"10.50.0.11" is not an address with its prefix, such as "10.50.0.11/24"',
        ),
        ({"machines": with_networks({"bridge": "br1", "address": "10.50.0.0/24"})}, '"10.50.0.0/24" is not an addr'),
        (
            {"machines": with_networks({"bridge": "br1", "address": "10.96.0.11/24"})},
            "a has 10.96.0.11/24 in br1, which overlaps services 10.96.0.0/16; choose other addresses",
        ),
        ({"machines": with_networks(BESIDE)}, "b and a have the same address 10.50.0.21 in br1; change one"),
        (
            {"driver": "none", "hypervisors": None, "bridge": None, "machines": with_networks(BESIDE)},
            'a has networks, which "driver: none" does not give; give it them yourself, and leave them out',
        ),
    ],
)  # fmt: skip
def test_what_could_not_work_is_told_with_its_line(
    tmp_path: Path, more: dict[str, object], says: str
) -> None:
    path = written(tmp_path, **more)

    with pytest.raises(TopologyError) as told:
        load(path)

    assert says in str(told.value)
    assert str(told.value).startswith(f"{path}:")


def test_a_hypervisor_makes_no_containers_and_a_uri_beside_hypervisors_is_refused(tmp_path: Path) -> None:
    path = str(written(tmp_path))

    with pytest.raises(
        MachineError, match="the hypervisors of racks make virtual machines; leave out --driver lxc"
    ):
        command.read(path, command.Kind.LXC)
    with pytest.raises(MachineError, match="racks names its hypervisors in its topology; leave out '--uri'"):
        command.list_machines(path, uri="qemu:///session")


def test_a_deploy_knows_where_machines_are_from_when_they_were_brought_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KYBERN_STATE", str(tmp_path))
    (tmp_path / "racks").mkdir()
    path = written(tmp_path)
    assert {data["machine"].hypervisor for group in inventory(path) for _name, data in group} == {""}

    State.of("racks").note({"a": "rack-2", "b": "rack-1"})

    (master,) = inventory(path).masters
    assert master[1]["machine"].hypervisor == "rack-2"
    assert master[1]["cluster"].machines[1].hypervisor == "rack-1"


@pytest.mark.parametrize(
    ("names", "whole"),
    [
        ([], ""),
        (["kybern-image.d1.aa.disk.qcow2", "kybern-image.d1.aa.vmlinuz"], ""),
        (["kybern-image.d1.aa.disk.qcow2", "kybern-image.d1.bb.complete"], "kybern-image.d1.bb."),
        (["kybern-image.d2.aa.complete"], ""),
    ],
)
def test_an_image_counts_when_its_mark_is_there(names: list[str], whole: str) -> None:
    assert volumes.image_of(names, "d1") == whole


def test_whose_a_volume_is_cannot_be_mistaken() -> None:
    """Neither names of clusters nor of machines have dots."""
    assert not volumes.prefix("lab-two", "a").startswith(volumes.prefix("lab"))
    assert not volumes.prefix("lab", "a-b").startswith(volumes.prefix("lab", "a"))


@pytest.mark.parametrize(
    ("description", "says"),
    [
        ("", 'hypervisor h has no storage pool "default"; make it with'),
        ("<pool type='logical'/>", 'of hypervisor h is of the type logical, and machines need one whose volumes are files'),
    ],
)  # fmt: skip
def test_a_pool_that_is_not_fit_is_told(description: str, says: str) -> None:
    class Pool:
        def name(self) -> str:
            return "default"

        def isActive(self) -> bool:  # noqa: N802  # libvirt's word
            return True

        def XMLDesc(self) -> str:  # noqa: N802  # libvirt's word
            return description

    class Connection:
        def listAllStoragePools(self) -> list[Pool]:  # noqa: N802  # libvirt's word
            return [Pool()] if description else []

    found = volumes.Volumes(Connection(), "qemu:///system", "default", "hypervisor h", lambda: "kvm", print)
    with pytest.raises(MachineError, match=says):
        found.refuse_unfit_pool()


def test_a_machine_that_no_hypervisor_has_is_told() -> None:
    class Empty:
        def defined(self, cluster: str = "") -> tuple[()]:
            return ()

    with pytest.raises(MachineError, match="there is no machine racks-a on h1"):
        Fleet({"h1": Empty()}).start("racks-a")  # type: ignore[dict-item]  # it is asked for its machines alone


def test_the_example_of_the_documents_is_a_topology(tmp_path: Path) -> None:
    text = (Path(__file__).parents[3] / "docs/how-to/hypervisors.md").read_text()
    path = tmp_path / "racks.yaml"
    path.write_text(text.partition("```yaml\n")[2].partition("```")[0])

    found: Cluster = load(path)

    assert len(found.hypervisors) == 3
