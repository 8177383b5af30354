"""Machines that are there already become a topology: who is what, how the file says it, and what one more adds. Pure.

An adopted topology is a file as any other. A second adoption reads it: machines that are in it stay as they are written, and
others are added as lines at its end, so that whatever an operator changed in it remains.
"""

import base64
import binascii
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Interface, IPv6Interface

from kybern.machines.errors import MachineError
from kybern.machines.topology import CONTROL_PLANE, ETCD, WORKER, Address, Cluster, Machine, Network

type Interface = IPv4Interface | IPv6Interface

SEVERAL = 3
"""So many masters are made of three machines or more when nobody says how many: the fewest that bear the end of one."""
MASTER = (ETCD, CONTROL_PLANE)


@dataclass(frozen=True, slots=True)
class Found:
    """What a machine said of itself: its own name, its addresses with their networks, and its routers."""

    name: str
    interfaces: tuple[Interface, ...] = ()
    gateways: tuple[Address, ...] = ()


@dataclass(frozen=True, slots=True)
class Wanted:
    """A machine to adopt: where it is, and what it shall be; ``roles`` is None for whoever is in the file already."""

    address: Address
    name: str
    roles: tuple[str, ...] | None


@dataclass(frozen=True, slots=True)
class HostKey:
    """A line of ssh-keyscan."""

    address: str
    kind: str
    blob: str

    @property
    def line(self) -> str:
        return f"{self.address} {self.kind} {self.blob}"

    @property
    def fingerprint(self) -> str:
        """As ssh shows it, to compare with what the machine's own console says. Raises MachineError for what is no key."""
        try:
            digest = hashlib.sha256(base64.b64decode(self.blob, validate=True)).digest()
        except binascii.Error as problem:
            raise MachineError(f"{self.address} gave a host key that is none: {self.blob[:20]}") from problem
        return f"SHA256:{base64.b64encode(digest).decode().rstrip('=')}"


ORDER = ("ssh-ed25519", "ecdsa-sha2-nistp256", "ssh-rsa")


def best_key(lines: Iterable[str], address: str) -> HostKey | None:
    """Of what ssh-keyscan says, the one to record."""
    keys = [
        HostKey(address, *words[1:3])
        for words in map(str.split, lines)
        if len(words) >= 3 and words[0] == address
    ]
    return min(
        (one for one in keys if one.kind in ORDER), key=lambda one: ORDER.index(one.kind), default=None
    )


def known(lines: Iterable[str]) -> Mapping[str, tuple[str, str]]:
    """Kind and key by address, of a known_hosts file."""
    found: dict[str, tuple[str, str]] = {}
    for words in map(str.split, lines):
        if len(words) >= 3 and not words[0].startswith(("#", "@", "|")):
            for address in words[0].split(","):
                found.setdefault(address, (words[1], words[2]))
    return found


def refuse_exchanged(key: HostKey, before: tuple[str, str]) -> None:
    """Raises MachineError when a machine shows another key than the recorded one of the same kind."""
    if before[0] == key.kind and before[1] != key.blob:
        raise MachineError(
            f"{key.address} shows another host key ({key.fingerprint}) than the one recorded; when it was installed anew, "
            "take its line out of known_hosts and adopt it again, else somebody is in between"
        )


def roles(addresses: Sequence[Address], masters: int | None) -> Mapping[Address, tuple[str, ...]]:
    """The first are masters, the others workers; without workers masters take pods. Raises MachineError."""
    count = masters if masters is not None else (SEVERAL if len(addresses) >= SEVERAL else 1)
    if not 0 < count <= len(addresses) or count % 2 == 0:
        raise MachineError(
            f"cannot make {count} masters of {len(addresses)} machines; say an odd number of at most as many with --masters"
        )
    return explicit(addresses[:count], addresses[count:])


def explicit(masters: Sequence[Address], workers: Sequence[Address]) -> Mapping[Address, tuple[str, ...]]:
    if both := set(masters) & set(workers):
        raise MachineError(f"{min(map(str, both))} cannot be both --master and --worker; name it once")
    alone = () if workers else (WORKER,)
    return dict.fromkeys(masters, (*MASTER, *alone)) | dict.fromkeys(workers, (WORKER,))


def network_of(found: Mapping[Address, Found]) -> Network:
    """The network in which all machines are. Raises MachineError when there is none."""
    first = next(iter(found))
    own = [one.network for one in found[first].interfaces if one.ip == first]
    if not own:
        raise MachineError(
            f"{first} does not have that address itself; adopt machines by their own addresses, or say --network"
        )
    if outside := [address for address in found if address not in own[0]]:
        raise MachineError(f"{outside[0]} is outside of {own[0]}, the network of {first}; say --network")
    return own[0]


def gateway_of(network: Network, found: Mapping[Address, Found]) -> Address:
    """The machines' own router, if it is near; else an address that none of them has."""
    told = [each for one in found.values() for each in one.gateways if each in network]
    free = next((each for each in network.hosts() if each not in found), None)
    chosen = told[0] if told else free
    if chosen is None:
        raise MachineError(f"the network {network} has room for nobody else; say --network")
    return chosen


def machine_line(machine: Wanted) -> str:
    # One of IPv6 may end in a colon.
    address = f'"{machine.address}"' if machine.address.version == 6 else str(machine.address)
    return f"  - {{name: {machine.name}, address: {address}, roles: [{', '.join(machine.roles or ())}]}}"


@dataclass(frozen=True, slots=True)
class Frame:
    """What a topology says beside its machines."""

    name: str
    user: str
    network: Network
    gateway: Address
    vip: Address | None


def topology(frame: Frame, machines: Sequence[Wanted]) -> str:
    """The file of a cluster that is adopted. Machines come last, so that more can be added."""
    lines = [
        f"# Machines that were there, adopted by: kybern adopt {frame.name}. Yours to change: docs/reference/topology.md.",
        f"cluster: {frame.name}",
        "driver: none",
        f"ssh_user: {frame.user}",
        f"network: {frame.network}",
        f"gateway: {frame.gateway}",
        *([f"vip: {frame.vip}"] if frame.vip else []),
        "machines:",
        *map(machine_line, machines),
    ]
    return "\n".join(lines) + "\n"


INVENTORY = '''"""Machines that were {how}: kybern {verb} {name}."""

from kybern.machines.inventory import inventory

masters, workers, etcd = inventory("{name}")
'''


def inventory(name: str, how: str = "adopted", verb: str = "adopt") -> str:
    """The file that hands a topology on to deploys."""
    return INVENTORY.format(name=name, how=how, verb=verb)


def agrees(cluster: Cluster, user: str | None, vip: Address | None, network: Network | None) -> None:
    """Raises MachineError when a file says otherwise than what is given now; what is not given agrees."""
    for what, given, has in (
        ("--user", user, cluster.ssh_user),
        ("--vip", vip, cluster.vip),
        ("--network", network, cluster.network),
    ):
        if given is not None and given != has:
            raise MachineError(
                f"cannot adopt: {what} is {given}, and {cluster.name} has {has}; change its topology, or leave it out"
            )
    if cluster.driver != "none":
        raise MachineError(
            f"cannot adopt into {cluster.name}: its machines are libvirt's (driver: {cluster.driver}); take another name"
        )


def added(
    cluster: Cluster,
    given: Mapping[Address, tuple[str, ...]],
    named: Mapping[Address, tuple[str, ...]],
) -> Sequence[Address]:
    """Who of those given is not in a topology yet. ``named``: those whose role was said. Raises MachineError."""
    has: dict[Address, Machine] = {one.address: one for one in cluster.machines}
    for address, said in named.items():
        if address in has and (CONTROL_PLANE in said) != has[address].is_master:
            role = "a master" if has[address].is_master else "a worker"
            raise MachineError(
                f"cannot adopt {address} otherwise: {has[address].name} of {cluster.name} is {role}; change that, or "
                f"kybern remove {cluster.name} {has[address].name} first"
            )
    return [address for address in given if address not in has]


def appended(text: str, machines: Sequence[Wanted]) -> str:
    """A file with more machines at its end, where its list of machines has to be."""
    return text.rstrip("\n") + "\n" + "\n".join(map(machine_line, machines)) + "\n"
