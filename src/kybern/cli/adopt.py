"""``kybern adopt``: machines that are there already become a topology that ``kybern deploy`` takes.

In this order, each of which ends it when it fails: host keys are shown and recorded, machines are asked who they are, a
topology is made and looked at by preflight, and only then files are written. A second run finds everything there.
"""

import asyncio
import socket
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from ipaddress import ip_address, ip_interface, ip_network
from pathlib import Path
from typing import Annotated

import typer

from kybern.cli.machines import TOPOLOGIES
from kybern.cli.preflight import look, show
from kybern.machines import adopting
from kybern.machines.adopting import Found, Frame, HostKey, Wanted
from kybern.machines.errors import MachineError
from kybern.machines.load import NAME, load
from kybern.machines.parts import answers
from kybern.machines.parts import script as asking
from kybern.machines.preflight.checks import findings
from kybern.machines.preflight.record import Level
from kybern.machines.state import State, ssh_config, write
from kybern.machines.topology import CONTROL_PLANE, WORKER, Address, Cluster, Machine, Network
from kybern.reach.host_keys import shown
from kybern.reach.machines import Machines

WITHIN = 20.0  # seconds a machine may take
SUDO = "as root: echo '{user} ALL=(ALL) NOPASSWD: ALL' >/etc/sudoers.d/kybern"
QUESTIONS = {
    "name": "cat /proc/sys/kernel/hostname",
    "addresses": "ip -o address show scope global | tr -s ' ' | cut -d' ' -f4",
    "gateway": "for each in -4 -6; do ip -o $each route show default | head -n 1; done | "
    "grep -o 'via [0-9a-f.:]*' | cut -d' ' -f2; true",
}


def adopt(  # noqa: PLR0913, PLR0917  # each is a flag
    name: Annotated[str, typer.Argument(help="Of the cluster, and of its topology.")],
    hosts: Annotated[
        list[str] | None, typer.Argument(help="Addresses or names of machines; NAME=ADDRESS names its node.")
    ] = None,
    masters: Annotated[
        int | None,
        typer.Option("--masters", help="How many of the hosts are masters, the first ones. 3 or 1."),
    ] = None,
    master: Annotated[
        list[str] | None, typer.Option("--master", help="A host that is to be a master.")
    ] = None,
    worker: Annotated[
        list[str] | None, typer.Option("--worker", help="A host that is to be a worker.")
    ] = None,
    vip: Annotated[str | None, typer.Option("--vip", help="A free address for several masters' API.")] = None,
    network: Annotated[
        str | None, typer.Option("--network", help="Of the machines, when it is not found.")
    ] = None,
    user: Annotated[str | None, typer.Option("--user", help="As whom to log in; he may sudo. root.")] = None,
    key: Annotated[
        Path | None, typer.Option("--key", help="Private SSH key that the machines accept.")
    ] = None,
    accept: Annotated[
        bool, typer.Option("--accept-host-keys", help="Record the host keys that machines show, unseen.")
    ] = False,
) -> None:
    """Bring in machines that are there: look at them, and write a topology for kybern deploy. They are not changed."""
    if not NAME.fullmatch(name):
        raise MachineError(f'cannot adopt as "{name}": small letters, digits and dashes, at most 32')
    named = _resolved([*(hosts or ()), *(master or ()), *(worker or ())])
    told = adopting.explicit([*_resolved(master or ()).values()], [*_resolved(worker or ()).values()])
    path = TOPOLOGIES / f"{name}.yaml"
    before = load(path) if path.exists() else None
    address, range_ = _parsed(ip_address, vip, "--vip"), _parsed(ip_network, network, "--network")
    if before:
        adopting.agrees(before, user, address, range_)
    given = _given(named, [*_resolved(hosts or ()).values()], told, masters, before)
    new = adopting.added(before, given, told) if before else list(given)
    if before and not new:
        print(
            f"{name} has {'this machine' if len(given) == 1 else 'these machines'} already: nothing changed."
        )
        return
    logs_in = user or (before.ssh_user if before else "root")
    take_key(State.of(name), key)
    record_host_keys(State.of(name), new, accept=accept)
    found = asyncio.run(_facts(name, logs_in, new))
    wanted = [Wanted(each, _node_name(named, found, each), given[each]) for each in new]
    text = (
        adopting.appended(path.read_text(), wanted)
        if before
        else _new(name, logs_in, wanted, found, address, range_)
    )
    cluster = _loaded(text, path)
    _look(cluster)
    path.parent.mkdir(parents=True, exist_ok=True)
    write(path, text.encode(), 0o644)
    state = State.of(name)
    write(state.ssh_config, ssh_config(cluster, state, cluster.ssh_user).encode())
    inventory = path.parent.parent / f"{name}.py"
    if not inventory.exists():
        write(inventory, adopting.inventory(name).encode(), 0o644)
    print(
        f"{path}: {', '.join(each.name for each in wanted)} {'added' if before else 'adopted'}. Next: kybern deploy {name}"
    )


def _resolved(hosts: Sequence[str]) -> dict[str, Address]:
    """Addresses by what was written. Raises MachineError for a name that is not answered, and for one given twice."""
    found: dict[str, Address] = {}
    for host in hosts:
        _, _, where = host.rpartition("=")
        try:
            answer = socket.getaddrinfo(where.strip("[]"), 22, type=socket.SOCK_STREAM)
        except socket.gaierror as problem:
            raise MachineError(f"cannot find {where}: {problem.strerror}; write its address") from problem
        # A name that has both is taken by IPv4, which all parts of a cluster have beside IPv6.
        address = min((ip_address(one[4][0]) for one in answer), key=lambda one: one.version)
        if address in found.values():
            raise MachineError(f"{host} is given twice ({address}); name each machine once")
        found[host] = address
    return found


def _parsed[T](parse: Callable[[str], T], text: str | None, flag: str) -> T | None:
    try:
        return parse(text) if text else None
    except ValueError as problem:
        raise MachineError(f"{flag}: {problem}") from problem


def _given(
    named: Mapping[str, Address],
    hosts: Sequence[Address],
    told: Mapping[Address, tuple[str, ...]],
    masters: int | None,
    before: Cluster | None,
) -> Mapping[Address, tuple[str, ...]]:
    """What each shall be. To a topology that is there, a host without a role comes as a worker."""
    if not named:
        raise MachineError(
            "there is nothing to adopt; name machines, by --master and --worker or simply in a row"
        )
    if before is None and not told:
        return adopting.roles(hosts, masters)
    if masters is not None:
        raise MachineError(
            "--masters is for hosts in a row of a new cluster; name masters by --master instead"
        )
    chosen = [each for each, roles in told.items() if CONTROL_PLANE in roles]
    others = [each for each in named.values() if each not in chosen]
    if before is None and not chosen:
        raise MachineError("there is no master among them; name one by --master")
    found = dict(adopting.explicit(chosen, others))
    if before:  # whether masters take pods is decided by the machines that are there
        pods = bool(before.workers) and all(each.is_master for each in before.workers)
        found |= dict.fromkeys(chosen, (*adopting.MASTER, *([WORKER] if pods and not others else [])))
    return found


def take_key(state: State, key: Path | None) -> None:
    """The cluster's own copy of the key. Another one than before is refused."""
    if key is None:
        if not state.key.exists():
            raise MachineError(f"cannot log in without a key: say --key FILE, or put it at {state.key}")
        return
    try:
        content = key.read_bytes()
    except OSError as problem:
        raise MachineError(f"cannot read the key {key}: {problem.strerror}") from problem
    if b"PRIVATE KEY" not in content:
        raise MachineError(f"{key} is no private key; name the file without .pub")
    if state.key.exists() and state.key.read_bytes() != content:
        raise MachineError(
            f"cannot use {key}: {state.key} is another key; remove that one, or leave --key out"
        )
    state.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    write(state.key, content)


def record_host_keys(state: State, addresses: Sequence[Address], *, accept: bool) -> None:
    """Host keys that are not recorded yet, once somebody has agreed to them. Raises MachineError."""
    lines = state.known_hosts.read_text().splitlines() if state.known_hosts.exists() else []
    before = adopting.known(lines)
    keys = asyncio.run(shown([str(each) for each in addresses]))
    if silent := [str(each) for each in addresses if str(each) not in keys]:
        raise MachineError(
            f"no answer by SSH from {', '.join(silent)}; see that sshd runs there, and no firewall is before it"
        )
    new = []
    for key in keys.values():
        if key.address in before:
            adopting.refuse_exchanged(key, before[key.address])
        else:
            new.append(key)
    if new:
        _agree(new, accept=accept)
        write(state.known_hosts, ("\n".join([*lines, *(each.line for each in new)]) + "\n").encode())


def _agree(keys: Sequence[HostKey], *, accept: bool) -> None:
    for each in keys:
        print(f"{each.address} shows {each.kind} {each.fingerprint}", flush=True)
    if accept:
        return
    if not sys.stdin.isatty():
        raise MachineError(
            "these host keys are not known; compare them with `ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub` on the "
            "machines' consoles, and say --accept-host-keys"
        )
    if not typer.confirm("Are these the machines' own keys (ssh-keygen -lf on their consoles)?"):
        raise MachineError("nothing was done: the host keys were not agreed to")


async def _facts(name: str, user: str, addresses: Sequence[Address]) -> Mapping[Address, Found]:
    """Who the machines are. Raises MachineError for one that lets us not in, or not be root."""
    machines = tuple(Machine(str(each), each, frozenset({WORKER})) for each in addresses)
    anywhere = ip_network("0.0.0.0/0")
    cluster = Cluster(
        name=name, network=anywhere, gateway=anywhere[1], vip=None, machines=machines, ssh_user=user
    )
    texts = await asyncio.gather(
        *(Machines(cluster).run(str(each), asking(QUESTIONS), WITHIN) for each in addresses)
    )
    found = {}
    for address, text in zip(addresses, texts, strict=True):
        if not text:
            there = await Machines(cluster, plain=True).run(str(address), "echo there", WITHIN)
            why = (
                f"{user} may not become root without a password; {SUDO.format(user=user)}"
                if there
                else f"{user} may not log in with that key: add it to his authorized_keys"
            )
            raise MachineError(f"cannot adopt {address}: {why}")
        found[address] = _found(dict(answers(text)))
    return found


def _found(parts: Mapping[str, str]) -> Found:
    return Found(
        parts.get("name", "").strip().partition(".")[0].lower(),
        tuple(_read(ip_interface, parts.get("addresses", ""))),
        tuple(_read(ip_address, parts.get("gateway", ""))),
    )


def _read[T](parse: Callable[[str], T], text: str) -> Iterator[T]:
    """What can be read; a machine may have said other things beside."""
    for word in text.split():
        with suppress(ValueError):
            yield parse(word)


def _node_name(named: Mapping[str, Address], found: Mapping[Address, Found], address: Address) -> str:
    """As written before the equals sign, else as the machine calls itself."""
    written = next(host for host, where in named.items() if where == address)
    name = written.rpartition("=")[0] or found[address].name
    if not NAME.fullmatch(name):
        raise MachineError(f'cannot call the node of {address} "{name}"; write NAME={address}')
    return name


def _new(  # all that a topology says
    name: str,
    user: str,
    wanted: Sequence[Wanted],
    found: Mapping[Address, Found],
    vip: Address | None,
    network: Network | None,
) -> str:
    masters = sum(CONTROL_PLANE in (each.roles or ()) for each in wanted)
    if masters > 1 and vip is None:
        raise MachineError(
            f"{masters} masters need a free address for their API: say --vip ADDRESS, or --masters 1"
        )
    range_ = network or adopting.network_of(found)
    return adopting.topology(Frame(name, user, range_, adopting.gateway_of(range_, found), vip), wanted)


def _loaded(text: str, path: Path) -> Cluster:
    """What the file would be, read as strictly as any. Raises TopologyError, which names the file to be."""
    with tempfile.TemporaryDirectory() as folder:
        trial = Path(folder) / path.name
        trial.write_text(text)
        try:
            return load(trial)
        except MachineError as problem:
            raise MachineError(f"cannot write {path}: {str(problem).removeprefix(f'{trial}:')}") from problem


def _look(cluster: Cluster) -> None:
    """Preflight, of all machines of the topology to be. Raises MachineError when something would fail a deploy."""
    found = findings(replace(cluster), asyncio.run(look(cluster)))
    show(cluster, found)
    if any(one.level is Level.FAILURE for one in found):
        raise MachineError("nothing is adopted: mend the failures above, and say it again")
