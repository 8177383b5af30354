"""pyinfra's way to our machines: its own SSH connector, made fast, strict and honest about dead peers.

- TCP_NODELAY: paramiko leaves Nagle's algorithm on, and each command then waits 40 ms for a delayed acknowledgement.
- Keepalive, and a limit on unacknowledged data: a machine that dies during a command fails the command within
  ``DEAD_AFTER`` seconds, instead of holding the deploy for ever.
- Host keys must be known: the machines' provider, or the operator, wrote them down before the first contact.
- ``disconnect`` closes the connection, which pyinfra's own does not.

``@machine/NAME`` is that for a host of an inventory file, whose data says the rest. ``@libvirt/TOPOLOGY`` (or
``@libvirt/TOPOLOGY/MACHINE``) finds the running machines of a topology by their libvirt metadata and needs no inventory
file; ``@libvirt/PATH.yaml`` is a topology that lies elsewhere. All name the host as the machine, so that
``--limit master-1`` does what it says.

pyinfra loads every connector on every run, so libvirt is imported only when it is asked.
"""

import os
import socket
from collections.abc import Collection, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Unpack

import gevent
from pyinfra import logger
from pyinfra.api import StringCommand
from pyinfra.api.arguments import ConnectorArguments
from pyinfra.api.exceptions import InventoryError
from pyinfra.connectors.ssh import SSHConnector
from pyinfra.connectors.util import CommandOutput, remove_any_sudo_askpass_file

from kybern.machines import xml
from kybern.machines.booting import answers
from kybern.machines.errors import MachineError
from kybern.machines.inventory import Host, inventory
from kybern.machines.topology import Machine

if TYPE_CHECKING:
    from paramiko import Transport

KEEPALIVE = 10
DEAD_AFTER = 40
PATIENCE = 20.0
"""Seconds for what a hypervisor has, which for SSH is a handshake and a program's start."""
WITHIN = 3.0
"""Seconds for the greeting of a machine's SSH."""

type Names = Iterator[tuple[str, dict[str, Any], list[str]]]


class MachineConnector(SSHConnector):
    """SSH to a machine of an inventory."""

    handles_execution = True
    trips = 0  # commands and files sent: what a run costs, and what tests have a budget for
    last: tuple[str, tuple[str, ...]] = ("", ())  # the last command, and what it said

    @staticmethod
    def make_names_data(name: str | None) -> Names:
        if not name:
            raise InventoryError("@machine lacks the machine's name: write @machine/NAME")
        yield name, {"ssh_hostname": name, "ssh_strict_host_key_checking": "yes"}, []

    def _connect(self) -> None:
        super()._connect()
        assert self.client is not None
        transport = self.client.get_transport()
        if transport is not None:
            tune(transport)

    def run_shell_command(
        self,
        command: StringCommand,
        print_output: bool = False,
        print_input: bool = False,
        **arguments: Unpack[ConnectorArguments],
    ) -> tuple[bool, CommandOutput]:
        self.trips += 1
        text = str(command)  # as pyinfra shows it: with what is secret masked
        self.last = text, ()
        try:
            done, output = super().run_shell_command(command, print_output, print_input, **arguments)
        except Exception as error:
            self.last = text, (f"{type(error).__name__}: {error}",)
            raise
        self.last = text, tuple(output.output_lines)
        return done, output

    def put_file(
        self,
        filename_or_io: Any,
        remote_filename: str,
        remote_temp_filename: str | None = None,
        print_output: bool = False,
        print_input: bool = False,
        **arguments: Unpack[ConnectorArguments],
    ) -> bool:
        self.trips += 1
        self.last = f"upload of {remote_filename}", ()
        return super().put_file(
            filename_or_io, remote_filename, remote_temp_filename, print_output, print_input, **arguments
        )

    def get_file(
        self,
        remote_filename: str,
        filename_or_io: Any,
        remote_temp_filename: str | None = None,
        print_output: bool = False,
        print_input: bool = False,
        **arguments: Unpack[ConnectorArguments],
    ) -> bool:
        self.trips += 1
        self.last = f"download of {remote_filename}", ()
        return super().get_file(
            remote_filename, filename_or_io, remote_temp_filename, print_output, print_input, **arguments
        )

    def disconnect(self) -> None:
        # pyinfra removes its helper for sudo's password after this, over the connection that is closed here.
        remove_any_sudo_askpass_file(self.host)
        super().disconnect()
        if self.client is not None:
            self.client.close()
            self.client = None


class LibvirtConnector(MachineConnector):
    """The same SSH, to the running machines of a topology."""

    @staticmethod
    def make_names_data(name: str | None) -> Names:
        given = name or ""
        topology, _, only = (given, "", "") if given.endswith((".yaml", ".yml")) else given.partition("/")
        if not topology:
            raise InventoryError("@libvirt lacks the topology's name: write @libvirt/TOPOLOGY")
        try:
            groups = inventory(topology)._asdict()
        except (MachineError, OSError) as error:
            raise InventoryError(str(error)) from error
        hosts: dict[str, Host] = {plain(host[0]): host for members in groups.values() for host in members}
        cluster = next(iter(hosts.values()))[1]["cluster"]
        here = os.environ.get("LIBVIRT_DEFAULT_URI") or f"{cluster.driver}:///system"
        uris = dict(cluster.hypervisors) or {"": here}
        running, silent = asked(uris, cluster.name)
        if silent and not cluster.hypervisors:
            raise InventoryError(silent[""])
        perhaps = untold((data["machine"] for _name, data in hosts.values()), running, silent)
        running |= greeting(one for each in perhaps.values() for one in each)
        for hypervisor, why in silent.items():
            left = ", ".join(one.name for one in perhaps[hypervisor] if one.name not in running)
            logger.warning(f"hypervisor {hypervisor}: {why}" + (f"; left out: {left}" if left else ""))
        found = [machine for machine in hosts if machine in running and only in ("", machine)]
        if not found:
            if silent:
                raise InventoryError("; ".join(silent.values()))
            raise InventoryError(
                f"no running machine for @libvirt/{name} at {', '.join(uris.values())}: `kybern machines up {topology}`"
            )
        for machine in found:
            member_of = [group for group, members in groups.items() if hosts[machine] in members]
            yield (
                machine,
                {"ssh_strict_host_key_checking": "yes", **hosts[machine][1]},
                [*member_of, "@libvirt"],
            )


def asked(uris: Mapping[str, str], cluster: str) -> tuple[frozenset[str], dict[str, str]]:
    """The running machines of a cluster, and why hypervisors of ``uris`` (by name) do not say what they have.

    All are asked at once. One that says nothing within ``PATIENCE`` is left behind with its thread, in which
    libvirt's call may never end.
    """
    # A call into C stops every greenlet; a thread does not.
    threads = gevent.get_hub().threadpool
    threads.maxsize = max(threads.maxsize, len(uris))
    given = {name: threads.spawn(discover, uri, cluster) for name, uri in uris.items()}
    gevent.wait(list(given.values()), timeout=PATIENCE)
    running, silent = frozenset[str](), dict[str, str]()
    for name, answer in given.items():
        if not answer.ready():
            silent[name] = f"cannot ask {uris[name]} for machines: no answer within {PATIENCE:.0f} s"
            continue
        try:
            running |= answer.get(block=False)
        except InventoryError as problem:
            silent[name] = str(problem)
    return running, silent


def untold(
    machines: Iterable[Machine], running: Collection[str], silent: Collection[str]
) -> dict[str, tuple[Machine, ...]]:
    """By silent hypervisors: the machines that may be there. Pure.

    Which hypervisor has a machine is what ``up`` noted; one of which nothing was noted may be on any.
    """
    unseen = [one for one in machines if one.name not in running]
    return {name: tuple(one for one in unseen if one.hypervisor in (name, "")) for name in silent}


def greeting(machines: Iterable[Machine]) -> frozenset[str]:
    """Those that answer by SSH, asked all at once: what a silent hypervisor has may be well all the same."""
    distinct = {one.name: one for one in machines}
    with ThreadPoolExecutor(len(distinct) or 1) as pool:
        there = pool.map(lambda one: answers(one, WITHIN), distinct.values())
        return frozenset(name for name, answered in zip(distinct, there, strict=True) if answered)


def discover(uri: str, cluster: str) -> frozenset[str]:
    """The names of the running machines of a cluster. Only reads."""
    import libvirt  # noqa: PLC0415  # see the module's docstring

    libvirt.registerErrorHandler(lambda _context, _error: None, None)
    try:
        connection = libvirt.openReadOnly(uri)
        try:
            domains = connection.listAllDomains(libvirt.VIR_CONNECT_LIST_DOMAINS_ACTIVE)
            texts = [domain.XMLDesc(0) for domain in domains]
        finally:
            connection.close()
    except libvirt.libvirtError as error:
        raise InventoryError(f"cannot ask {uri} for machines: {error}; is libvirtd running there?") from error
    ours = (xml.defined(text, active=True) for text in texts)
    return frozenset(found.machine for found in ours if found is not None and found.cluster == cluster)


def plain(host: str) -> str:
    """A machine's name from what an inventory calls it."""
    return host.removeprefix("@machine/")


def tune(transport: "Transport") -> None:
    """Make a connection answer at once, and end when nobody is there any more."""
    transport.set_keepalive(KEEPALIVE)
    sock = transport.sock
    # Behind a jump host it is a channel of another connection, which has no such options.
    if hasattr(sock, "setsockopt"):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, DEAD_AFTER * 1000)
