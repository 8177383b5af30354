"""The machine that installs others over the network: dnsmasq for addresses and loaders, kybern-netboot for the rest.

Needs package, and Debian 13 or Ubuntu 24.04 on a machine of the machines' own network that is none of the cluster's. Leaves
both units running (docs/adr/0037): dnsmasq answers the hardware addresses that the topology lists and nobody else;
kybern-netboot has the image, what each machine is to be, and the operator's orders to install one anew.
"""

from collections.abc import Sequence
from typing import NamedTuple

from pyinfra import host
from pyinfra.api import deploy
from pyinfra.api.exceptions import OperationError

from kybern.machines import metal, state
from kybern.machines.bundle.contents import SERVER
from kybern.machines.netboot import partition
from kybern.machines.state import State
from kybern.machines.topology import Cluster, Machine, Netboot
from kybern.netboot import scripts
from kybern.netboot.wanted import Served, Wanted, written
from roles.bundled import repository
from roles.cluster import NETBOOT_PORT, NETBOOT_USER
from roles.facts import Interface
from roles.hypervisors import absent, removal
from roles.operations import FACT_SECONDS, accounts, bundle, once, packages, ready, units
from roles.package import here
from roles.templates import render
from roles.tree import Directory, Entry, File, Service, Upload

FOLDER = "/srv/kybern-netboot"
CONF = "/etc/kybern/netboot-dnsmasq.conf"
UNITS = DNSMASQ, DAEMON = "kybern-netboot-dnsmasq.service", "kybern-netboot.service"
BIOS, UEFI = metal.LOADERS
# What firmware calls itself (RFC 4578), and the loader that it is given.
ARCHITECTURES = {0: BIOS, 7: UEFI, 9: UEFI}


class Orders(NamedTuple):
    """To install machines anew: an order's name, and whom it is for."""

    name: str = ""
    machines: tuple[str, ...] = ()


def ordered() -> Orders:
    """What ``kybern machines netboot --reinstall`` has said."""
    return Orders(
        str(host.data.get("order") or ""),
        tuple(name for name in str(host.data.get("reinstall") or "").split(",") if name),
    )


@deploy("netboot")
def netboot(cluster: Cluster, machine: Machine) -> None:
    boot = configured(cluster)
    made, orders = metal.build(print), ordered()
    offered = repository(cluster)
    if offered is not None:
        bundle(name="Package index", files=offered.index)
    packages(name="Packages", names=(SERVER,), repository=offered)
    accounts(name="Users", users=(NETBOOT_USER,))
    image = Upload(f"{FOLDER}/files/{scripts.IMAGE}", source=made.image)
    bundle(name="Image", files=files(made, image))
    bundle(
        name="Machines",
        files=machines(cluster, image.digest, orders),
        prune=(f"{FOLDER}/settings",),
    )
    services = [dnsmasq(cluster, boot, interface(machine)), daemon(cluster, here().programs)]
    bundle(name="Units", files=[file for service in services for file in service.files])
    units(name="Running", services=services)
    ready(name="Answers", probe=f"curl -fsS -m 5 {url(boot)}/{scripts.FIRST}", log=DAEMON)


@deploy("netboot")
def netboot_off() -> None:
    """Nothing of it, but for what it has seen: who is installed."""
    once(name="Switched off", probe=absent(UNITS, CONF, FOLDER), command=removal(UNITS, CONF, FOLDER))


def configured(cluster: Cluster) -> Netboot:
    if cluster.netboot is None:
        raise OperationError(f'{cluster.name} has no "netboot" in its topology; see docs/how-to/netboot.md')
    return cluster.netboot


def url(boot: Netboot) -> str:
    return f"http://{boot.server}:{NETBOOT_PORT}"


def booted(cluster: Cluster) -> tuple[Machine, ...]:
    return tuple(machine for machine in cluster.machines if machine.mac)


def files(made: metal.Metal, image: Upload) -> Sequence[Entry]:
    """What is loaded before anybody is known; nothing of it is a machine's own."""
    loaders = [
        Upload(f"{FOLDER}/tftp/{name}", source=source)
        for name, source in zip(metal.LOADERS, made.loaders, strict=True)
    ]
    return [
        Upload(f"{FOLDER}/files/{scripts.KERNEL}", source=made.kernel),
        Upload(f"{FOLDER}/files/{scripts.INITRD}", source=made.installer),
        image,
        *loaders,
    ]


def machines(cluster: Cluster, digest: str, orders: Orders) -> Sequence[Entry]:
    """What each is to be, and the orders that are new: the others stay, as what was done."""
    kept, resolvers = State.of(cluster.name), state.resolvers()
    return [
        Directory(f"{FOLDER}/orders"),
        File(f"{FOLDER}/netboot.json", written(served(cluster, digest)).encode()),
        *(
            File(f"{FOLDER}/settings/{machine.name}.tar", metal.settings(cluster, machine, kept, resolvers))
            for machine in booted(cluster)
        ),
        *(
            File(f"{FOLDER}/orders/{partition(cluster.name, name)}", f"{orders.name}\n".encode())
            for name in orders.machines
        ),
    ]


def served(cluster: Cluster, digest: str) -> Served:
    boot = configured(cluster)
    return Served(
        url=url(boot),
        sha256=digest,
        kernel=boot.kernel,
        machines=tuple(
            Wanted(
                name=machine.name,
                mac=machine.mac,
                address=f"{machine.address}/{cluster.network.prefixlen}",
                partition=partition(cluster.name, machine.name),
                disk=machine.install_on,
                wipe=machine.wipe,
            )
            for machine in booted(cluster)
        ),
    )


def dnsmasq(cluster: Cluster, boot: Netboot, interface: str) -> Service:
    network = cluster.network
    conf = render(
        "netboot/dnsmasq.conf",
        cluster=cluster,
        machines=booted(cluster),
        interface=interface,
        url=url(boot),
        first=scripts.FIRST,
        folder=FOLDER,
        range=f"dhcp-range={network.network_address},{'proxy' if boot.dhcp == 'proxy' else 'static'},{network.netmask}",
        hosts=() if boot.dhcp == "proxy" else leases(cluster),
        loaders=loaders(boot),
    )
    unit = render("netboot/kybern-netboot-dnsmasq.service", cluster=cluster, user=NETBOOT_USER, conf=CONF)
    return Service(DNSMASQ, (File(CONF, conf), File(f"/etc/systemd/system/{DNSMASQ}", unit)))


def leases(cluster: Cluster) -> tuple[str, ...]:
    return (
        *(f"dhcp-host={machine.mac},{machine.address},{machine.name}" for machine in booted(cluster)),
        f"dhcp-option=option:router,{cluster.gateway}",
    )


def loaders(boot: Netboot) -> tuple[str, ...]:
    """Beside another DHCP server a firmware is offered services (PXE's own way), else a file of this server's."""
    if boot.dhcp == "proxy":
        return tuple(
            f'pxe-service=tag:!ipxe,{number},"Kybern",{loader},{boot.server}'
            for number, loader in ARCHITECTURES.items()
        )
    return (
        *(f"dhcp-match=set:{loader},option:client-arch,{number}" for number, loader in ARCHITECTURES.items()),
        *(f"dhcp-boot=tag:!ipxe,tag:{loader},{loader},,{boot.server}" for loader in metal.LOADERS),
    )


def daemon(cluster: Cluster, programs: str) -> Service:
    unit = render(
        "netboot/kybern-netboot.service",
        cluster=cluster,
        programs=programs,
        user=NETBOOT_USER,
        folder=FOLDER,
        port=NETBOOT_PORT,
    )
    return Service(DAEMON, (File(f"/etc/systemd/system/{DAEMON}", unit),))


def interface(machine: Machine) -> str:
    """Where the machines are: the card with the address that the topology gives for this server."""
    found: str = host.get_fact(Interface, str(machine.address), _timeout=FACT_SECONDS)
    if not found:
        raise OperationError(
            f"the server has no network card with the address {machine.address}; mend netboot's server in the topology"
        )
    return found
