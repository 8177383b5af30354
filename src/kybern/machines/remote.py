"""A hypervisor elsewhere: libvirt at the end of a connection that may break, on a host that we see in no other way.

A connection that is not made in time is given up, and one whose other end falls silent is ended by libvirt's own keepalive,
which fails whatever waits for an answer: no call here waits for ever.
"""

import contextlib
import functools
import queue
import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlsplit

import libvirt

from kybern.machines import hypervisor, images, qemu, volumes
from kybern.machines.errors import MachineError
from kybern.machines.libvirt import Libvirt, missing_bridges, missing_networks, told
from kybern.machines.topology import Cluster
from kybern.machines.volumes import Volumes

REACH = 20.0  # seconds for a connection, which for SSH is a handshake and a program's start
KEEPALIVE, UNANSWERED = 5, 3  # seconds between questions, and how many may stay without an answer


@functools.cache
def _events() -> None:
    """Keepalive needs libvirt's event loop in this process, and it must be there before a connection is."""
    libvirt.virEventRegisterDefaultImpl()

    def turn() -> None:
        while True:
            with contextlib.suppress(libvirt.libvirtError):
                libvirt.virEventRunDefaultImpl()

    threading.Thread(target=turn, name="libvirt events", daemon=True).start()


def is_local(uri: str) -> bool:
    """It is this host's own libvirt, by whatever socket."""
    return not urlsplit(uri).netloc


def connected(name: str, uri: str, seconds: float = REACH) -> Any:
    """Libvirt's connection. Raises MachineError that names the hypervisor and what to try."""
    _events()
    answers: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def work() -> None:
        # A thread that may be left behind: nothing ends a connection in the making.
        try:
            answers.put(libvirt.open(uri))
        except libvirt.libvirtError as error:
            answers.put(error)

    threading.Thread(target=work, name=f"libvirt {name}", daemon=True).start()
    try:
        found = answers.get(timeout=seconds)
    except queue.Empty:
        found = f"no answer within {seconds:.0f} s"
    if isinstance(found, libvirt.libvirtError | str):
        raise MachineError(
            f"cannot reach hypervisor {name} at {uri}: {found}; try 'virsh --connect {uri} list' as the same user, and "
            "see docs/how-to/hypervisors.md"
        )
    if not is_local(uri):
        found.setKeepAlive(KEEPALIVE, UNANSWERED)
    return found


class Remote(Libvirt):
    """One of a topology's hypervisors, with its machines' storage in a pool and their network on a bridge of its own."""

    def __init__(self, name: str, uri: str, cluster: Cluster, say: images.Say) -> None:
        connection = connected(name, uri)
        self.label = f"hypervisor {name}"

        def accelerator() -> str:
            # What this host's libvirt says of KVM may not be true; see qemu.
            if is_local(uri):
                return qemu.accelerator(qemu.build(say).kernel)
            return volumes.accelerator(connection.getDomainCapabilities(None, "x86_64", "q35"))

        self._volumes = Volumes(connection, uri, cluster.pool, self.label, accelerator, say)
        super().__init__(self._volumes, uri, connection)

    @told
    def ensure_network(self, cluster: Cluster) -> None:
        """The bridge is the operator's, and so is the pool: that they are there is seen before anything is made."""
        self._volumes.refuse_unfit_pool()
        machines = [each for each in cluster.machines if f"hypervisor {each.hypervisor}" == self.label]
        networks = [one for each in machines for one in each.networks]
        bridges = [cluster.bridge, *(one.name for one in networks if one.kind == "bridge")]
        if lacking := missing_bridges(self._connection, bridges):
            raise MachineError(
                f"{self.label} has no bridge {', '.join(lacking)}; make it there, with a port on the machines' network "
                "(docs/how-to/hypervisors.md)"
            )
        names = [one.name for one in networks if one.kind == "network"]
        if lacking := missing_networks(self._connection, names):
            raise MachineError(
                f"{self.label} has no active network {', '.join(lacking)}; make it there with 'virsh --connect {self.uri} "
                "net-define', net-start and net-autostart"
            )

    @told
    def remove_rest(self, cluster: str) -> None:
        try:
            self._volumes.remove_all(cluster)
        except libvirt.libvirtError as error:
            # Without a pool, or one that is off, there is nothing of ours to be seen.
            if error.get_error_code() not in (
                libvirt.VIR_ERR_NO_STORAGE_POOL,
                libvirt.VIR_ERR_OPERATION_INVALID,
            ):
                raise


def reached(cluster: Cluster, say: images.Say) -> tuple[Mapping[str, Remote], Mapping[str, MachineError]]:
    """The cluster's hypervisors that answer, and why the others do not; all are asked at once."""
    if any(is_local(uri) for _name, uri in cluster.hypervisors):
        hypervisor.start()
    living: dict[str, Remote] = {}
    silent: dict[str, MachineError] = {}
    with ThreadPoolExecutor(len(cluster.hypervisors)) as pool:
        futures = {name: pool.submit(Remote, name, uri, cluster, say) for name, uri in cluster.hypervisors}
    for name, future in futures.items():
        try:
            living[name] = future.result()
        except MachineError as error:
            silent[name] = error
    return living, silent
