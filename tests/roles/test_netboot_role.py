"""The server that installs machines: whom dnsmasq answers, what it says, what is shipped, and that it comes to rest."""

import json
from collections.abc import Callable
from dataclasses import replace
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import pytest

from kybern.machines import metal
from kybern.machines.netboot import partition
from kybern.machines.topology import Cluster, Machine, Netboot
from roles import netboot as role
from roles.netboot import CONF, DAEMON, DNSMASQ, FOLDER, Orders
from tests.roles.harness import FakeMachine, Run, apply, plan
from tests.roles.small import use

MACS = ("52:54:00:00:00:01", "52:54:00:00:00:02")
SERVER = Machine("netboot", IPv4Address("10.1.0.5"), frozenset())


@pytest.fixture
def racks(cluster: Cluster, state: Path) -> Cluster:
    """Two of the machines are booted over the network, the others are there."""
    (state / "test" / "id_ed25519.pub").write_text("ssh-ed25519 AAAA kybern\n")
    first, second, *others = cluster.machines
    booted = (replace(first, mac=MACS[0]), replace(second, mac=MACS[1], install_on="/dev/sda", wipe=True))
    return replace(
        cluster, driver="none", machines=(*booted, *others), netboot=Netboot(IPv4Address("10.1.0.5"))
    )


@pytest.fixture(autouse=True)
def release(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use(tmp_path, monkeypatch, "0" * 16)


@pytest.fixture(autouse=True)
def image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> metal.Metal:
    paths = [tmp_path / name for name in ("vmlinuz", "installer", "root.tar.zst", *metal.LOADERS)]
    for path in paths:
        path.write_text(path.name)
    made = metal.Metal(paths[0], paths[1], paths[2], tuple(paths[3:]))
    monkeypatch.setattr(metal, "build", lambda _say: made)
    return made


def conf(cluster: Cluster) -> list[str]:
    boot = role.configured(cluster)
    (file, _) = role.dnsmasq(cluster, boot, "eth7").inputs
    return file.content.decode().splitlines()


def test_nobody_but_the_listed_machines_is_answered(racks: Cluster) -> None:
    lines = conf(racks)

    assert [line for line in lines if line.startswith("dhcp-mac=")] == [
        f"dhcp-mac=set:kybern,{mac}" for mac in MACS
    ]
    assert "dhcp-ignore=tag:!kybern" in lines
    assert {"interface=eth7", "bind-interfaces", "port=0"} <= set(lines)


def test_alone_it_gives_each_machine_the_address_of_the_topology_and_no_other(racks: Cluster) -> None:
    lines = conf(racks)

    assert "dhcp-range=10.1.0.0,static,255.255.255.0" in lines
    assert [line for line in lines if line.startswith("dhcp-host=")] == [
        f"dhcp-host={MACS[0]},10.1.0.11,m1",
        f"dhcp-host={MACS[1]},10.1.0.12,m2",
    ]
    assert "dhcp-option=option:router,10.1.0.1" in lines
    assert [line for line in lines if line.startswith("dhcp-boot=")] == [
        "dhcp-boot=tag:ipxe,http://10.1.0.5:8069/boot.ipxe",
        "dhcp-boot=tag:!ipxe,tag:undionly.kpxe,undionly.kpxe,,10.1.0.5",
        "dhcp-boot=tag:!ipxe,tag:snponly.efi,snponly.efi,,10.1.0.5",
    ]


def test_beside_another_dhcp_server_it_gives_no_address(racks: Cluster) -> None:
    lines = conf(replace(racks, netboot=Netboot(IPv4Address("10.1.0.5"), dhcp="proxy")))

    assert "dhcp-range=10.1.0.0,proxy,255.255.255.0" in lines
    assert not [line for line in lines if line.startswith(("dhcp-host=", "dhcp-option="))]
    assert 'pxe-service=tag:!ipxe,0,"Kybern",undionly.kpxe,10.1.0.5' in lines
    assert 'pxe-service=tag:!ipxe,7,"Kybern",snponly.efi,10.1.0.5' in lines
    assert "dhcp-ignore=tag:!kybern" in lines


def shipped(fake: FakeMachine) -> dict[str, bytes]:
    return {path: content for path, content in fake.contents.items() if path.startswith(FOLDER)}


def test_the_server_gets_what_each_machine_is_to_be(racks: Cluster) -> None:
    fake = FakeMachine("netboot", packages={"dnsmasq-base"})
    apply(role.netboot, racks, SERVER, fake)

    served = json.loads(shipped(fake)[f"{FOLDER}/netboot.json"])
    assert served["url"] == "http://10.1.0.5:8069"
    assert len(served["sha256"]) == 64
    assert [one["name"] for one in served["machines"]] == ["m1", "m2"]
    assert (served["machines"][1]["disk"], served["machines"][1]["wipe"]) == ("/dev/sda", True)
    assert {f"{FOLDER}/settings/m1.tar", f"{FOLDER}/settings/m2.tar"} <= set(shipped(fake))
    assert {f"{FOLDER}/tftp/{name}" for name in metal.LOADERS} <= set(fake.tree)


def test_a_server_that_is_set_up_is_left_alone(racks: Cluster) -> None:
    fake = FakeMachine("netboot", packages={"dnsmasq-base"})
    apply(role.netboot, racks, SERVER, fake)
    fake.commands.clear()

    assert plan(role.netboot, racks, SERVER, fake) == []
    assert fake.commands == []


def test_another_machine_restarts_dnsmasq_alone(racks: Cluster) -> None:
    """The daemon reads its files at each question, and may have an installation in hand."""
    fake = FakeMachine("netboot", packages={"dnsmasq-base"})
    apply(role.netboot, racks, SERVER, fake)
    fake.commands.clear()
    *some, last = racks.machines

    more = replace(racks, machines=(*some, replace(last, mac="52:54:00:00:00:03")))
    assert apply(role.netboot, more, SERVER, fake) == [
        "netboot | Machines",
        "netboot | Units",
        "netboot | Running",
    ]
    restarts = [command for command in fake.commands if "systemctl restart" in command]
    assert len(restarts) == 1
    assert f"restart {DNSMASQ}" in restarts[0]
    assert f"restart {DAEMON}" not in restarts[0]


def test_a_machine_that_is_listed_no_more_is_forgotten(racks: Cluster) -> None:
    fake = FakeMachine("netboot", packages={"dnsmasq-base"})
    apply(role.netboot, racks, SERVER, fake)
    first, second, *others = racks.machines
    apply(role.netboot, replace(racks, machines=(first, replace(second, mac=""), *others)), SERVER, fake)

    assert f"{FOLDER}/settings/m2.tar" not in fake.tree
    assert MACS[1] not in fake.contents[CONF].decode()


def orders(data: dict[str, Any]) -> Orders:
    """What the role reads of pyinfra's data."""
    from pyinfra.context import ctx_host

    run = Run([FakeMachine("netboot")], [data])
    with ctx_host.use(run.hosts[0]):
        return role.ordered()


def test_an_order_is_a_file_for_each_machine(racks: Cluster) -> None:
    found = orders({"order": "1-a", "reinstall": "m1,m2"})
    files = {one.path: one for one in role.machines(racks, "ab", found)}

    assert found == Orders("1-a", ("m1", "m2"))
    assert getattr(files[f"{FOLDER}/orders/{partition(racks.name, 'm1')}"], "content", b"") == b"1-a\n"
    assert orders({}) == Orders()
    assert not [
        one for one in role.machines(racks, "ab", Orders()) if one.path.startswith(f"{FOLDER}/orders/")
    ]


def test_a_new_run_leaves_old_orders_where_they_are(racks: Cluster) -> None:
    """They say which were carried out: without them, an order could not be told from a new one."""
    fake = FakeMachine("netboot", packages={"dnsmasq-base"})
    apply(role.netboot, racks, SERVER, fake)
    fake.tree[f"{FOLDER}/orders/m1"] = fake.tree[f"{FOLDER}/netboot.json"]

    assert plan(role.netboot, racks, SERVER, fake) == []


def test_nothing_stays_when_it_is_switched_off(racks: Cluster) -> None:
    fake = FakeMachine("netboot", packages={"dnsmasq-base"})
    apply(role.netboot, racks, SERVER, fake)
    off: Callable[..., Any] = role.netboot_off
    run = Run([fake])
    run.prepare(off, racks, [None])
    run.execute()

    (command,) = [one for one in fake.commands if "disable --now" in one]
    assert DNSMASQ in command
    assert f"rm -rf /etc/systemd/system/{DNSMASQ}" in command


@pytest.mark.parametrize("unit", [DNSMASQ, DAEMON])
def test_units_run_as_their_own_user(racks: Cluster, unit: str) -> None:
    fake = FakeMachine("netboot", packages={"dnsmasq-base"})
    apply(role.netboot, racks, SERVER, fake)

    text = fake.contents[f"/etc/systemd/system/{unit}"].decode()
    assert "User=kybern-netboot\n" in text
    assert "ProtectSystem=strict\n" in text
    assert ("CapabilityBoundingSet=\n" in text) == (unit == DAEMON)
