"""The topology's ``netboot``, and what a machine's line says for it: who is installed over the network, by whom, where on.

netboot:
  server: 192.0.2.5             # a machine of the same network that is none of the cluster's
  dhcp: full                    # or proxy: another DHCP server gives the addresses
machines:
  - {name: rack1-a, address: 192.0.2.11, roles: [worker], mac: "52:54:00:00:00:11", install_on: /dev/sda, wipe: true}
"""

import re
import uuid
from dataclasses import replace
from ipaddress import IPv4Address

import yaml

from kybern.machines.fields import Fields, Place, matching, one_of, yes_or_no
from kybern.machines.topology import Cluster, Machine, Netboot

KEYS = ("mac", "install_on", "wipe")
DHCP = ("full", "proxy")
_MAC = re.compile(r"[0-9a-f]{2}([:-][0-9a-f]{2}){5}")
_USER = re.compile(r"[a-z][a-z0-9_-]{0,31}")
# They end up in words of the kernel's command line and of a shell.
_ARGUMENTS = re.compile(r"[A-Za-z0-9_.,:=/@+-]+( [A-Za-z0-9_.,:=/@+-]+)*")
_DISK = re.compile(r"[A-Za-z0-9_.:/+-]{1,128}")
HARDWARE = 'the hardware address of a network card, such as "52:54:00:12:34:56"'
_SPACE = uuid.UUID("5b9fdb2f-6c0b-44ff-b0a4-5f7a6a1a1c3e")


def netboot_of(top: Fields) -> Netboot | None:
    """Raises TopologyError with its line."""
    found = top.node("netboot")
    if found is None:
        return None
    if not isinstance(found, yaml.MappingNode):
        raise top.required("netboot").at.error('netboot must be a mapping with the key "server"')
    fields = top.within(found, "netboot", ("server", "ssh_user", "dhcp", "kernel"))
    return Netboot(
        server=fields.required("server").parse(IPv4Address, "an IPv4 address"),
        ssh_user=fields.parse("ssh_user", matching(_USER), "a user's name", "root"),
        dhcp=fields.parse("dhcp", one_of(*DHCP), " or ".join(DHCP), "full"),
        kernel=fields.parse(
            "kernel", matching(_ARGUMENTS), 'arguments of a kernel, such as "console=ttyS1,115200"', ""
        ),
    )


def booted(fields: Fields, machine: Machine) -> Machine:
    """The machine with what its line says of being installed."""
    made = replace(
        machine,
        mac=fields.parse("mac", hardware_address, HARDWARE, ""),
        install_on=fields.parse("install_on", matching(_DISK), "a disk's path, serial number or WWN", ""),
        wipe=fields.parse("wipe", yes_or_no, "true or false", False),
    )
    for key in ("install_on", "wipe"):
        if fields.value(key) and not made.mac:
            raise fields.required(key).at.error(
                f'{made.name} has "{key}" and no "mac", so it is not installed over the network; add its "mac"'
            )
    return made


def hardware_address(text: str) -> str:
    """In small letters, with colons. Raises ValueError for what no network card has."""
    small = text.lower()
    if not _MAC.fullmatch(small):
        raise ValueError(text)
    found = small.replace("-", ":")
    if int(found[:2], 16) & 1 or found == "00:00:00:00:00:00":  # a group's, or nobody's
        raise ValueError(text)
    return found


def check_netboot(cluster: Cluster, at: Place) -> None:
    """Raises TopologyError for what would boot nobody, or boot a machine that is somebody else's."""
    listed = [machine for machine in cluster.machines if machine.mac]
    _check_addresses(listed, at)
    boot = cluster.netboot
    if boot is None:
        if listed:
            raise at.error(
                f'{listed[0].name} has a "mac", and the topology no "netboot": add one with a "server", or leave it out'
            )
        return
    if cluster.driver != "none":
        raise at.error(
            f'netboot is for machines that are there, and these are made by "driver: {cluster.driver}"; say "driver: none"'
        )
    if cluster.ssh_user != "root":
        raise at.error(
            f'machines that are installed over the network have root alone, and not "{cluster.ssh_user}"; '
            'leave "ssh_user" out'
        )
    if not listed:
        raise at.error('netboot has nobody to boot: give machines their "mac"')
    _check_server(cluster, boot, at)


def _check_server(cluster: Cluster, boot: Netboot, at: Place) -> None:
    if cluster.network.version != 4:
        raise at.error(
            f"netboot goes by IPv4, and the machines' network is {cluster.network}; install the machines another way"
        )
    if boot.server not in cluster.network:
        raise at.error(
            f"netboot: server {boot.server} is outside the network {cluster.network}, and a machine that has no address yet "
            "reaches no other; take one inside"
        )
    for name, address in (
        *((machine.name, machine.address) for machine in cluster.machines),
        ("the vip", cluster.vip),
    ):
        if boot.server == address:
            raise at.error(
                f"netboot: server {boot.server} is the address of {name}; take a machine that is none of the cluster's"
            )


def _check_addresses(listed: list[Machine], at: Place) -> None:
    known: dict[str, str] = {}
    for machine in listed:
        first = known.setdefault(machine.mac, machine.name)
        if first != machine.name:
            raise at.error(f"duplicate mac {machine.mac} of {first} and {machine.name}; change one")


def partition(cluster: str, machine: str) -> str:
    """The UUID of the partition that is a machine's root, by which its own disk is known again."""
    return str(uuid.uuid5(_SPACE, f"{cluster}/{machine}"))
