"""What to do so that the machines defined are the machines wanted. Pure: two sets in, an ordered list of actions out.

A machine is replaced only where it cannot become what is wanted (another address, driver or network): its disk is lost
then, so ``replaced`` names such machines and the caller asks first. A newer image does not replace a machine.
"""

import hashlib
import uuid
from collections.abc import Iterable
from dataclasses import dataclass

from kybern.machines.clouds import LOCAL
from kybern.machines.errors import MachineError
from kybern.machines.topology import Address, Cluster, Machine, Network

NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "urn:kybern:machine:1")


@dataclass(frozen=True, slots=True)
class Wanted:
    """A machine as it should be, with everything that libvirt must know about it."""

    cluster: str
    network: Network
    gateway: Address
    driver: str
    machine: Machine
    sees_libvirt: bool = False
    takes_volumes: bool = False
    # The bridge of its host that it is on; empty: on the cluster's own network.
    bridge: str = ""

    @property
    def name(self) -> str:
        """The domain's name: machines of two clusters may bear the same name."""
        return domain_name(self.cluster, self.machine.name)

    @property
    def uuid(self) -> uuid.UUID:
        return uuid.uuid5(NAMESPACE, self.name)

    @property
    def mac(self) -> str:
        """A locally administered address that is the same in every life of the machine."""
        digest = hashlib.sha256(self.name.encode()).digest()
        return _mac(digest)

    def mac_of(self, number: int) -> str:
        """Of its interface eth1, eth2 and so on."""
        return _mac(hashlib.sha256(f"{self.name}/{number}".encode()).digest())

    @property
    def identity(self) -> str:
        """A digest of what cannot change in a machine's life."""
        fields = (
            self.cluster,
            self.driver,
            self.network,
            self.gateway,
            self.machine.name,
            self.machine.address,
            # Its addresses are given at its first start, so it keeps the networks that it has then.
            *((self.bridge,) if self.bridge else ()),
            *((one.kind, one.name, one.address) for one in self.machine.networks),
        )
        return hashlib.sha256("|".join(map(str, fields)).encode()).hexdigest()[:16]

    @property
    def size(self) -> tuple[int, ...]:
        """Memory, processors, its disk, and disks beside it."""
        return self.machine.memory, self.machine.cpus, self.machine.disk, *self.machine.disks

    @property
    def firmware(self) -> str:
        return self.machine.firmware


@dataclass(frozen=True, slots=True)
class Defined:
    """A machine as libvirt has it, from its domain's metadata."""

    cluster: str
    machine: str
    address: str
    roles: frozenset[str]
    identity: str
    size: tuple[int, ...]
    active: bool
    firmware: str = "bios"
    autostart: bool = False
    # Where it is, when the cluster's machines are made on several.
    hypervisor: str = ""

    @property
    def name(self) -> str:
        return domain_name(self.cluster, self.machine)


@dataclass(frozen=True, slots=True)
class Define:
    wanted: Wanted


@dataclass(frozen=True, slots=True)
class Start:
    name: str


@dataclass(frozen=True, slots=True)
class Resize:
    """New sizes, roles or firmware; a machine that runs is off meanwhile, unless only its notes change."""

    wanted: Wanted
    restart: bool


@dataclass(frozen=True, slots=True)
class Undefine:
    defined: Defined


type Action = Define | Start | Resize | Undefine


def _mac(digest: bytes) -> str:
    """Locally administered, as QEMU's are."""
    return ":".join(f"{byte:02x}" for byte in (0x52, 0x54, 0x00, *digest[:3]))


def domain_name(cluster: str, machine: str) -> str:
    return f"{cluster}-{machine}"


def wanted(cluster: Cluster) -> tuple[Wanted, ...]:
    return tuple(
        Wanted(
            cluster.name,
            cluster.network,
            cluster.gateway,
            cluster.driver,
            machine,
            sees_libvirt=cluster.cloud == LOCAL and machine.is_master,
            takes_volumes=cluster.cloud_volumes is not None,
            bridge=cluster.bridge,
        )
        for machine in cluster.machines
    )


def plan(wanted: Iterable[Wanted], defined: Iterable[Defined]) -> tuple[Action, ...]:
    """The actions in the order in which they are safe; those of different machines are independent of each other."""
    wanted = tuple(wanted)
    has = {each.name: each for each in defined}
    names = {each.name for each in wanted}
    actions: list[Action] = [Undefine(each) for name, each in sorted(has.items()) if name not in names]
    for each in wanted:
        actions += _one(each, has.get(each.name))
    return tuple(actions)


def replaced(actions: Iterable[Action]) -> tuple[str, ...]:
    """The machines whose disks a plan would lose."""
    return tuple(action.defined.name for action in actions if isinstance(action, Undefine))


def refuse_smaller(wanted: Iterable[Wanted], defined: Iterable[Defined]) -> None:
    """Disks grow, and do not shrink or go: MachineError before what is on them is lost."""
    has = {each.name: each for each in defined}
    for each in wanted:
        old = has.get(each.name)
        if old is None or old.identity != each.identity:
            continue
        names = ("its disk", *(f"data-{number}" for number in range(1, len(old.size))))
        disks = each.size[2:]
        for number, (name, before) in enumerate(zip(names, old.size[2:], strict=False)):
            now = disks[number] if number < len(disks) else 0
            if now < before:
                told = f"shrink from {before} to {now} MiB" if now else f"go ({before} MiB)"
                raise MachineError(
                    f"cannot let {name} of {each.machine.name} {told}: what is on it would be lost; write {before}MiB "
                    f"or more into the topology, or remove the machine (kybern remove) and make it anew"
                )


def _one(wanted: Wanted, defined: Defined | None) -> list[Action]:
    if defined is None:
        return [Define(wanted), Start(wanted.name)]
    if (defined.identity, defined.hypervisor) != (wanted.identity, wanted.machine.hypervisor):
        return [Undefine(defined), Define(wanted), Start(wanted.name)]
    actions: list[Action] = []
    hard = (defined.size, defined.firmware) != (wanted.size, wanted.firmware)
    if hard or (defined.roles, defined.autostart) != (wanted.machine.roles, wanted.machine.autostart):
        actions.append(Resize(wanted, restart=defined.active and hard))
    if not defined.active:
        actions.append(Start(wanted.name))
    return actions
