"""How machines that are there become a topology."""

from dataclasses import replace
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, ip_address, ip_interface, ip_network
from pathlib import Path

import pytest

from kybern.machines import adopting
from kybern.machines.adopting import Found, Frame, HostKey, Wanted
from kybern.machines.errors import MachineError
from kybern.machines.load import load
from kybern.machines.topology import Address, Cluster

ONE, TWO, THREE, FOUR = (ip_address(f"192.0.2.{at}") for at in (11, 12, 13, 21))
MASTER, WORKER = ("etcd", "control-plane"), ("worker",)
FRAME = Frame("mine", "ann", IPv4Network("192.0.2.0/24"), IPv4Address("192.0.2.1"), None)
# Of RFC 8032's first test vector: the key of nobody.
BLOB = "AAAAC3NzaC1lZDI1NTE5AAAAINdamAGCsQq31Uv+08lkBzoO4XLz2qYjJa8CGmj3B1Ea"


@pytest.mark.parametrize(
    ("addresses", "masters", "wanted"),
    [
        ([ONE], None, {ONE: (*MASTER, "worker")}),
        ([ONE, TWO], None, {ONE: MASTER, TWO: WORKER}),
        ([ONE, TWO, THREE], None, dict.fromkeys((ONE, TWO, THREE), (*MASTER, "worker"))),
        ([ONE, TWO, THREE, FOUR], None, {**dict.fromkeys((ONE, TWO, THREE), MASTER), FOUR: WORKER}),
        ([ONE, TWO, THREE, FOUR], 1, {ONE: MASTER, **dict.fromkeys((TWO, THREE, FOUR), WORKER)}),
    ],
)
def test_the_first_are_masters(
    addresses: list[IPv4Address], masters: int | None, wanted: dict[IPv4Address, tuple[str, ...]]
) -> None:
    assert adopting.roles(addresses, masters) == wanted


@pytest.mark.parametrize("masters", [0, 2, 5, -1])
def test_a_number_of_masters_that_does_not_work_is_refused(masters: int) -> None:
    with pytest.raises(MachineError, match=f"cannot make {masters} masters of 4 machines"):
        adopting.roles([ONE, TWO, THREE, FOUR], masters)


def test_nobody_is_both() -> None:
    with pytest.raises(MachineError, match=r"192\.0\.2\.11 cannot be both"):
        adopting.explicit([ONE], [ONE, TWO])


def found(address: Address, prefix: int = 24, gateway: str = "192.0.2.254") -> Found:
    return Found("m", (IPv4Interface(f"{address}/{prefix}"),), (IPv4Address(gateway),))


def test_machines_with_ipv6_alone_are_found_and_written() -> None:
    one, two = ip_address("fd00:2::11"), ip_address("fd00:2::12")
    # A router of IPv6 mostly tells its link-local address, which is no topology's.
    said = Found("m", (ip_interface("fd00:2::11/64"),), (ip_address("fe80::1"),))

    network = adopting.network_of({one: said, two: said})
    assert network == ip_network("fd00:2::/64")
    assert adopting.gateway_of(network, {one: said, two: said}) == ip_address("fd00:2::1")
    assert adopting.machine_line(Wanted(one, "m", ("worker",))) == (
        '  - {name: m, address: "fd00:2::11", roles: [worker]}'
    )


def test_the_network_is_that_of_the_first_and_all_are_in_it() -> None:
    both = {ONE: found(ONE), FOUR: found(FOUR)}

    assert adopting.network_of(both) == IPv4Network("192.0.2.0/24")
    assert adopting.gateway_of(IPv4Network("192.0.2.0/24"), both) == IPv4Address("192.0.2.254")
    with pytest.raises(MachineError, match=r"192\.0\.2\.21 is outside of 192\.0\.2\.8/29"):
        adopting.network_of({ONE: found(ONE, 29), FOUR: found(FOUR)})
    with pytest.raises(MachineError, match="does not have that address itself"):
        adopting.network_of({ONE: found(TWO)})


def test_a_router_that_is_not_near_is_not_the_gateway() -> None:
    away = {ONE: found(ONE, gateway="198.51.100.1")}

    assert adopting.gateway_of(IPv4Network("192.0.2.8/29"), away) == IPv4Address("192.0.2.9")


def written(tmp_path: Path, text: str) -> Cluster:
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    return load(path)


MACHINES = [Wanted(ONE, "a", MASTER), Wanted(FOUR, "w", WORKER)]


def test_the_file_is_read_as_any_topology(tmp_path: Path) -> None:
    cluster = written(tmp_path, adopting.topology(FRAME, MACHINES))

    assert (cluster.name, cluster.driver, cluster.ssh_user) == ("mine", "none", "ann")
    assert [(one.name, one.is_master) for one in cluster.machines] == [("a", True), ("w", False)]
    assert str(cluster.gateway) == "192.0.2.1"


def test_one_more_machine_is_a_line_at_the_end_and_leaves_the_rest(tmp_path: Path) -> None:
    text = adopting.topology(FRAME, MACHINES).replace("machines:", "ingress: true  # mine\nmachines:")

    more = adopting.appended(text, [Wanted(TWO, "b", WORKER)])

    assert more.startswith(text.rstrip("\n"))
    assert [one.name for one in written(tmp_path, more).machines] == ["a", "w", "b"]


def test_who_is_there_already_is_not_added(tmp_path: Path) -> None:
    cluster = written(tmp_path, adopting.topology(FRAME, MACHINES))

    assert adopting.added(cluster, {ONE: WORKER, TWO: WORKER, FOUR: WORKER}, {}) == [TWO]
    assert adopting.added(cluster, {ONE: MASTER}, {ONE: MASTER}) == []
    with pytest.raises(MachineError, match="a of mine is a master"):
        adopting.added(cluster, {ONE: WORKER}, {ONE: WORKER})
    with pytest.raises(MachineError, match="w of mine is a worker"):
        adopting.added(cluster, {FOUR: MASTER}, {FOUR: MASTER})


def test_another_user_address_or_driver_is_not_overwritten(tmp_path: Path) -> None:
    cluster = written(tmp_path, adopting.topology(FRAME, MACHINES))

    adopting.agrees(cluster, "ann", None, IPv4Network("192.0.2.0/24"))
    adopting.agrees(cluster, None, None, None)
    with pytest.raises(MachineError, match="--user is bob, and mine has ann"):
        adopting.agrees(cluster, "bob", None, None)
    with pytest.raises(MachineError, match=r"--vip is 192\.0\.2\.9, and mine has None"):
        adopting.agrees(cluster, None, IPv4Address("192.0.2.9"), None)
    with pytest.raises(MachineError, match="libvirt"):
        adopting.agrees(replace(cluster, driver="lxc"), None, None, None)


def test_the_best_key_that_a_machine_shows_is_taken_and_told_by_its_fingerprint() -> None:
    lines = [
        "# comment",
        "192.0.2.11 ssh-rsa AAAAB3Nza",
        f"192.0.2.11 ssh-ed25519 {BLOB}",
        "192.0.2.12 ssh-ed25519 x",
    ]

    key = adopting.best_key(lines, "192.0.2.11")

    assert key == HostKey("192.0.2.11", "ssh-ed25519", BLOB)
    assert key.fingerprint.startswith("SHA256:")
    assert len(key.fingerprint) == len("SHA256:") + 43
    assert adopting.best_key(lines, "192.0.2.13") is None
    with pytest.raises(MachineError, match="host key that is none"):
        assert HostKey("192.0.2.12", "ssh-ed25519", "x").fingerprint


def test_a_key_that_was_exchanged_is_refused() -> None:
    before = adopting.known(
        [f"192.0.2.11 ssh-ed25519 {BLOB}", "#192.0.2.12 ssh-rsa x", "192.0.2.13,host ssh-rsa y"]
    )

    assert before == {
        "192.0.2.11": ("ssh-ed25519", BLOB),
        "192.0.2.13": ("ssh-rsa", "y"),
        "host": ("ssh-rsa", "y"),
    }
    adopting.refuse_exchanged(HostKey("192.0.2.11", "ssh-ed25519", BLOB), before["192.0.2.11"])
    other = BLOB.replace("Ea", "Eb")
    with pytest.raises(MachineError, match="another host key"):
        adopting.refuse_exchanged(HostKey("192.0.2.11", "ssh-ed25519", other), before["192.0.2.11"])
