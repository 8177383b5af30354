"""What a topology may say of machines that are installed over the network, and how newcomers' mistakes are told."""

import tarfile
from io import BytesIO
from pathlib import Path

import pytest

from kybern.machines import metal, recipe
from kybern.machines.errors import MachineError, TopologyError
from kybern.machines.inventory import netboot_host
from kybern.machines.load import load
from kybern.machines.netboot import partition
from kybern.machines.state import State

GOOD = """\
cluster: racks
driver: none
network: 10.8.0.0/24
vip: 10.8.0.10
netboot:
  server: 10.8.0.5
machines:
  - {name: a, address: 10.8.0.11, roles: [etcd, control-plane], mac: "52:54:00:00:00:11"}
  - {name: b, address: 10.8.0.12, roles: [worker], mac: 52-54-00-00-00-1F, install_on: /dev/sdb, wipe: true}
  - {name: c, address: 10.8.0.13, roles: [worker]}
"""


def file(tmp_path: Path, text: str = GOOD) -> Path:
    path = tmp_path / "racks.yaml"
    path.write_text(text)
    return path


def test_machines_have_their_cards_and_disks(tmp_path: Path) -> None:
    cluster = load(file(tmp_path))

    assert cluster.netboot is not None
    assert (str(cluster.netboot.server), cluster.netboot.dhcp, cluster.netboot.ssh_user) == (
        "10.8.0.5",
        "full",
        "root",
    )
    first, second, third = cluster.machines
    assert (first.mac, first.install_on, first.wipe) == ("52:54:00:00:00:11", "", False)
    assert (second.mac, second.install_on, second.wipe) == ("52:54:00:00:00:1f", "/dev/sdb", True)
    assert not third.mac, "a machine that was there already is not installed"


def test_a_network_of_ipv6_alone_boots_nobody(tmp_path: Path) -> None:
    text = GOOD.replace("10.8.0.0/24", "fd08::/64")
    for number in (10, 11, 12, 13):
        text = text.replace(f"10.8.0.{number}", f"fd08::{number}")
    text = text.replace("driver: none", "driver: none\nfamilies: [IPv6]")

    with pytest.raises(TopologyError, match="netboot goes by IPv4, and the machines' network is fd08::/64"):
        load(file(tmp_path, text))


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ('"52:54:00:00:00:11"', "52:54:00:11", "8: \"52:54:00:11\" is not the hardware address of a network card"),
        ('"52:54:00:00:00:11"', "52:54:00:00:00:zz", "8: \"52:54:00:00:00:zz\" is not the hardware address"),
        ('"52:54:00:00:00:11"', "01:00:5e:00:00:11", "is not the hardware address of a network card"),
        ('"52:54:00:00:00:11"', "00:00:00:00:00:00", "is not the hardware address of a network card"),
        ('"52:54:00:00:00:11"', "52:54:00:00:00:1f", "duplicate mac 52:54:00:00:00:1f of a and b; change one"),
        ("address: 10.8.0.12", "address: 10.8.0.11", "9: duplicate address 10.8.0.11, first on line 8; change one"),
        ("server: 10.8.0.5", "server: 10.9.0.5", "server 10.9.0.5 is outside the network 10.8.0.0/24"),
        ("server: 10.8.0.5", "server: 10.8.0.13", "server 10.8.0.13 is the address of c; take a machine that is none"),
        ("server: 10.8.0.5", "server: 10.8.0.10", "server 10.8.0.10 is the address of the vip"),
        ("server: 10.8.0.5", "dhcp: proxy", 'netboot lacks "server"; add it'),
        ("server: 10.8.0.5", "server: 10.8.0.5\n  dhcp: some", '"some" is not full or proxy'),
        ("server: 10.8.0.5", "server: 10.8.0.5\n  range: 10.8.0.50", 'unknown key "range" in netboot'),
        ("server: 10.8.0.5", "server: 10.8.0.5\n  kernel: 'a\"; reboot'", "is not arguments of a kernel"),
        ("netboot:\n  server: 10.8.0.5\n", "", 'a has a "mac", and the topology no "netboot"'),
        ("netboot:\n  server: 10.8.0.5\n", "netboot: yes\n", 'netboot must be a mapping with the key "server"'),
        ("driver: none", "driver: qemu", 'these are made by "driver: qemu"; say "driver: none"'),
        ("driver: none", "driver: none\nssh_user: ann", 'have root alone, and not "ann"'),
        ("roles: [worker]}", "roles: [worker], wipe: true}", 'c has "wipe" and no "mac"'),
        ("roles: [worker]}", "roles: [worker], install_on: sda}", 'c has "install_on" and no "mac"'),
        ("/dev/sdb", "'/dev/sd b'", "is not a disk's path, serial number or WWN"),
        ("wipe: true", "wipe: maybe", '"maybe" is not true or false'),
    ],
)  # fmt: skip
def test_a_mistake_is_told_with_its_place_and_remedy(tmp_path: Path, old: str, new: str, told: str) -> None:
    assert old in GOOD
    with pytest.raises(TopologyError) as refused:
        load(file(tmp_path, GOOD.replace(old, new, 1)))
    assert told in str(refused.value)


def test_a_server_without_anybody_to_boot_is_refused(tmp_path: Path) -> None:
    text = "\n".join(line for line in GOOD.splitlines() if " mac:" not in line)
    with pytest.raises(TopologyError, match="nobody to boot"):
        load(file(tmp_path, text.replace("roles: [worker]", "roles: [etcd, control-plane]")))


def test_the_server_is_reached_as_itself(tmp_path: Path) -> None:
    text = GOOD.replace("server: 10.8.0.5", "server: 10.8.0.5\n  ssh_user: ann")
    name, data = netboot_host(file(tmp_path, text))

    assert (name, data["ssh_hostname"], data["ssh_user"], data["_sudo"]) == (
        "@machine/netboot",
        "10.8.0.5",
        "ann",
        True,
    )


def test_a_topology_without_a_server_has_no_such_host(tmp_path: Path) -> None:
    text = GOOD.replace("netboot:\n  server: 10.8.0.5\n", "")
    text = text.replace(', mac: "52:54:00:00:00:11"', "")
    text = text.replace(", mac: 52-54-00-00-00-1F, install_on: /dev/sdb, wipe: true", "")
    with pytest.raises(MachineError, match='racks has no "netboot"'):
        netboot_host(file(tmp_path, text))


def test_a_machine_s_disk_is_known_again_by_its_name_and_cluster() -> None:
    assert partition("racks", "a") == partition("racks", "a")
    assert len({partition("racks", "a"), partition("racks", "b"), partition("other", "a")}) == 3


def test_settings_have_no_secret_and_all_that_makes_the_machine(tmp_path: Path) -> None:
    text = GOOD.replace("server: 10.8.0.5", "server: 10.8.0.5\n  kernel: console=ttyS1,115200")
    cluster = load(file(tmp_path, text))
    (tmp_path / "id_ed25519").write_text("PRIVATE")
    (tmp_path / "id_ed25519.pub").write_text("ssh-ed25519 AAAA kybern-racks\n")

    made = metal.settings(cluster, cluster.machines[0], State(tmp_path), "nameserver 10.8.0.1\n")

    assert b"PRIVATE" not in made
    with tarfile.open(fileobj=BytesIO(made)) as archive:
        files = {one.name: archive.extractfile(one).read().decode() for one in archive if one.isfile()}  # type: ignore[union-attr]
        assert archive.getmember("root/.ssh/authorized_keys").mode == 0o600
    assert files["etc/hostname"] == "a\n"
    assert "10.8.0.12 b\n" in files["etc/hosts"]
    assert files["root/.ssh/authorized_keys"].startswith("ssh-ed25519 AAAA")
    assert "MACAddress=52:54:00:00:00:11\n" in files["etc/systemd/network/10-kybern.network"]
    assert "Address=10.8.0.11/24\nGateway=10.8.0.1\n" in files["etc/systemd/network/10-kybern.network"]
    assert 'GRUB_CMDLINE_LINUX="console=ttyS1,115200"' in files["etc/default/grub.d/kybern.cfg"]
    assert not [name for name in files if "host_" in name], "a machine makes its own"


def test_the_image_of_bare_machines_is_another_and_that_of_virtual_ones_stays() -> None:
    made, virtual = recipe.bare_metal(), recipe.virtual_machine()

    assert made.digest != virtual.digest
    assert set(virtual.packages) < set(made.packages)
    assert {"grub-pc-bin", "grub-efi-amd64-bin", "ipxe"} <= set(made.packages)


def test_an_image_cannot_be_packed_without_zstd(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda _name: None)
    with pytest.raises(MachineError, match="apt install zstd"):
        metal.build(print)
