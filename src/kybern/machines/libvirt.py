"""The provider: machines and networks of one hypervisor. The only module that imports libvirt.

Every method brings about a state and does nothing where it is there already, so an interrupted run is run again.
"""

import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterable
from functools import wraps
from pathlib import Path
from types import TracebackType
from typing import Any, Concatenate, Self

import libvirt

from kybern.machines import driver, hypervisor, network, xml
from kybern.machines.driver import Driver
from kybern.machines.errors import MachineError
from kybern.machines.moments import Taken
from kybern.machines.plan import Defined, Wanted
from kybern.machines.state import File
from kybern.machines.topology import Cluster, Network

# With what belongs to the machine alone: the variables of its firmware, and its snapshots.
UNDEFINED = libvirt.VIR_DOMAIN_UNDEFINE_NVRAM | libvirt.VIR_DOMAIN_UNDEFINE_SNAPSHOTS_METADATA
SHUTDOWN = 60.0
KILL = 20.0
SAID = 4096  # bytes


def _silent(_context: object, _error: object) -> None:
    """Libvirt prints every error by default, also those that are an answer."""


libvirt.registerErrorHandler(_silent, None)


def told[S: "Libvirt", **P, R](
    method: Callable[Concatenate[S, P], R],
) -> Callable[Concatenate[S, P], R]:
    """What libvirt refuses is told in its words, as one line; everything but what the method itself expects."""

    @wraps(method)
    def call(self: S, /, *arguments: P.args, **named: P.kwargs) -> R:
        try:
            return method(self, *arguments, **named)
        except libvirt.libvirtError as error:
            raise MachineError(f"{self.label} refuses: {error}") from error

    return call


class Libvirt:
    """A connection to one hypervisor, with the driver for its kind of machines."""

    label = "libvirt"

    def __init__(self, kind: Driver, uri: str = "", connection: Any = None) -> None:
        """``connection``: one that is open already."""
        self._driver = kind
        self.uri = uri or kind.uri
        try:
            self._connection = connection or libvirt.open(self.uri)
        except libvirt.libvirtError as error:
            raise MachineError(f"cannot connect to {self.uri}: {error}") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Hang up; a connection that is broken already is."""
        with contextlib.suppress(libvirt.libvirtError):
            self._connection.close()

    @told
    def defined(self, cluster: str = "") -> tuple[Defined, ...]:
        """Our machines, of one cluster or of all."""
        found = []
        for domain in self._connection.listAllDomains():
            try:
                one = xml.defined(domain.XMLDesc(0), bool(domain.isActive()))
            except libvirt.libvirtError as error:
                if error.get_error_code() == libvirt.VIR_ERR_NO_DOMAIN:
                    continue  # it went away meanwhile
                raise
            if one and cluster in ("", one.cluster):
                found.append(one)
        return tuple(sorted(found, key=lambda each: each.name))

    @told
    def ensure_network(self, cluster: Cluster) -> None:
        """The cluster's bridge, defined and up. Refuses addresses that something else on this host uses."""
        self._refuse_missing(cluster)
        name = xml.network_name(cluster.name)
        found = self._network(name)
        if found is None or not found.isActive():
            network.refuse_conflict(cluster.network, xml.bridge_name(cluster.name))
        if found is not None and not _same_network(found.XMLDesc(0), cluster.network):
            if self.defined(cluster.name):
                raise MachineError(
                    f"cluster {cluster.name} runs in another network than {cluster.network}; "
                    "run 'kybern machines down' with the topology it was made from first"
                )
            self.remove_network(cluster.name)
            found = None
        if found is None:
            definition = xml.network(cluster.name, cluster.network, cluster.gateway)
            found = self._connection.networkDefineXML(definition)
        if not found.autostart():
            found.setAutostart(True)
        if not found.isActive():
            self._remove_stale_bridge(cluster.name)
            found.create()

    def _refuse_missing(self, cluster: Cluster) -> None:
        further = [one for machine in cluster.machines for one in machine.networks]
        for kind, missing in (("bridge", missing_bridges), ("network", missing_networks)):
            names = [one.name for one in further if one.kind == kind]
            if lacking := missing(self._connection, names):
                raise MachineError(
                    f"this host has no active {kind} {', '.join(lacking)}, which machines are to be attached to; make it "
                    "first, or leave it out of their 'networks'"
                )

    @told
    def remove_network(self, cluster: str) -> bool:
        found = self._network(xml.network_name(cluster))
        if found is None:
            self._remove_stale_bridge(cluster)
            return False
        if found.isActive():
            found.destroy()
        found.undefine()
        return True

    @told
    def remove_rest(self, cluster: str) -> None:
        """What a cluster has beside its machines."""
        self.remove_network(cluster)

    @told
    def define(self, wanted: Wanted, files: tuple[File, ...]) -> None:
        """Storage first, definition last: a domain that is defined is complete."""
        self._driver.create(wanted, files)
        self._defined(wanted)

    @told
    def redefine(self, wanted: Wanted) -> None:
        """New sizes and roles for a machine; what its storage holds stays."""
        if not self._domain(wanted.name).isActive():
            self._driver.resize(wanted)
        self._defined(wanted)

    def _defined(self, wanted: Wanted) -> None:
        domain = self._connection.defineXML(self._driver.xml(wanted))
        if wanted.machine.autostart or domain.autostart():
            domain.setAutostart(wanted.machine.autostart)

    @told
    def start(self, name: str) -> None:
        domain = self._domain(name)
        if domain.isActive():
            return
        self._driver.before_start(name, self._directory(domain))
        try:
            domain.create()
        except libvirt.libvirtError as error:
            raise MachineError(f"{name} does not start: {error}") from error

    @told
    def stop(self, name: str) -> None:
        """Shut a machine down in order; pull its plug when it takes too long."""
        domain = self._domain(name)
        anchor = self._driver.anchor(name)
        if domain.isActive():
            if not self._driver.power_button(name):
                domain.shutdown()
            if not _has_ended(domain, anchor, SHUTDOWN):
                self.kill(name)
        self._ended(name, domain, anchor)

    @told
    def kill(self, name: str) -> None:
        """Pull the plug, and make sure that nothing of the machine lives on."""
        domain = self._domain(name)
        anchor = self._driver.anchor(name)
        try:
            if domain.isActive():
                domain.destroy()
        except libvirt.libvirtError as error:
            # libvirt waits three seconds for processes that it has killed, which may take longer on a busy host: we do.
            lives = error.get_error_code() == libvirt.VIR_ERR_INTERNAL_ERROR
            lives = lives and (anchor is not None or _has_ended(domain, None, KILL))
            if not lives and error.get_error_code() != libvirt.VIR_ERR_OPERATION_INVALID:
                raise MachineError(f"{name} cannot be stopped: {error}") from error
        self._ended(name, domain, anchor)

    @told
    def undefine(self, name: str) -> None:
        """Remove a machine with all that was made for it."""
        domain = self._domain(name)
        self.kill(name)
        one = self._ours(domain)
        if self._connection.getType() == "QEMU":
            domain.undefineFlags(UNDEFINED)
        else:
            domain.undefine()  # others know no flags
        self._driver.remove(one.cluster, one.machine)

    @told
    def pause(self, name: str) -> None:
        domain = self._domain(name)
        if domain.isActive() and domain.state()[0] != libvirt.VIR_DOMAIN_PAUSED:
            domain.suspend()

    @told
    def resume(self, name: str) -> None:
        domain = self._domain(name)
        if domain.isActive() and domain.state()[0] == libvirt.VIR_DOMAIN_PAUSED:
            domain.resume()

    @told
    def take(self, name: str, snapshot: str) -> None:
        self._domain(name).snapshotCreateXML(xml.snapshot(snapshot))

    @told
    def taken(self, name: str) -> tuple[Taken, ...]:
        """The snapshots of a machine, the oldest first."""
        found = [xml.taken(one.getXMLDesc()) for one in self._domain(name).listAllSnapshots()]
        return tuple(sorted(found, key=lambda one: one.when))

    @told
    def return_to(self, name: str, snapshot: str) -> None:
        """A machine that is off has its disks as they were, and stays off."""
        domain = self._domain(name)
        found = domain.snapshotLookupByName(snapshot)
        domain.revertToSnapshot(found, libvirt.VIR_DOMAIN_SNAPSHOT_REVERT_PAUSED)
        self.kill(name)

    @told
    def forget(self, name: str, snapshot: str) -> None:
        self._domain(name).snapshotLookupByName(snapshot).delete()

    def console(self, name: str) -> list[str]:
        """The command that attaches to a machine's console."""
        return ["virsh", "--connect", self.uri, "console", name]

    @told
    def said(self, name: str) -> bytes | None:
        """The end of what a machine's console said since its start; None where that is not written down here."""
        try:
            with (self._directory(self._domain(name)) / driver.CONSOLE).open("rb") as log:
                log.seek(max(0, log.seek(0, os.SEEK_END) - SAID))
                return log.read()
        except (FileNotFoundError, PermissionError):
            return None

    def _ended(self, name: str, domain: Any, anchor: int | None) -> None:
        if anchor is not None and not hypervisor.wait_gone(anchor, 0):
            with contextlib.suppress(ProcessLookupError):
                os.kill(anchor, signal.SIGKILL)
            if not hypervisor.wait_gone(anchor, KILL):
                raise MachineError(f"process {anchor}, the init of {name}, does not end; look at it with ps")
        # libvirt hears of a process's end a moment after it, and takes the machine for a running one until then.
        if not _has_ended(domain, None, KILL):
            raise MachineError(f"{name} has ended, and libvirt does not know it; look with 'virsh list'")
        self._driver.after_stop(name, self._directory(domain))

    def _directory(self, domain: Any) -> Path:
        one = self._ours(domain)
        return driver.directory(one.cluster, one.machine)

    def _ours(self, domain: Any) -> Defined:
        one = xml.defined(domain.XMLDesc(0), active=False)
        if one is None:
            raise MachineError(f"{domain.name()} is not a machine of kybern's; it is left alone")
        return one

    def _domain(self, name: str) -> Any:
        try:
            return self._connection.lookupByName(name)
        except libvirt.libvirtError as error:
            raise MachineError(
                f"there is no machine {name} on {self.uri}; see 'kybern machines list'"
            ) from error

    def _remove_stale_bridge(self, cluster: str) -> None:
        if self.uri == self._driver.uri:  # else the hypervisor is another host
            network.remove_stale(xml.bridge_name(cluster))

    def _network(self, name: str) -> Any:
        try:
            return self._connection.networkLookupByName(name)
        except libvirt.libvirtError:
            return None


def missing_networks(connection: Any, names: Iterable[str]) -> list[str]:
    """Of networks of libvirt's, those that are not there or not active."""
    active = {each.name() for each in connection.listAllNetworks() if each.isActive()}
    return sorted(set(names) - active)


def missing_bridges(connection: Any, names: Iterable[str]) -> list[str]:
    """None where libvirt cannot tell: then it is told when a machine starts."""
    if not (wanted := set(names)):
        return []
    try:
        return sorted(wanted - {each.name() for each in connection.listAllInterfaces()})
    except libvirt.libvirtError as error:
        if error.get_error_code() == libvirt.VIR_ERR_NO_SUPPORT:
            return []
        raise


def _has_ended(domain: Any, anchor: int | None, seconds: float) -> bool:
    """Within that time, as the end of the machine's process tells, or libvirt where we cannot see that."""
    if anchor is not None:
        return hypervisor.wait_gone(anchor, seconds)
    deadline = time.monotonic() + seconds
    while domain.isActive():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True


def _same_network(definition: str, cidr: Network) -> bool:
    return network.of_xml(definition) == cidr
