"""``kybern machines netboot``: machines that have nothing on their disks are installed over the network.

The topology's server is set up for it by a deploy; then somebody switches the machines on, and this waits until each has
been installed, has told its host key by way of the server, and lets us in by SSH with that key.
"""

import asyncio
import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from kybern.cli import machines
from kybern.cli.adopt import record_host_keys, take_key
from kybern.cli.deploys import run_deploy
from kybern.cli.machines import Topology
from kybern.cli.progress import Progress
from kybern.machines import adopting, metal, state
from kybern.machines.bundle import taking
from kybern.machines.errors import MachineError
from kybern.machines.inventory import NETBOOT
from kybern.machines.netboot import partition
from kybern.machines.preflight import host as preflight
from kybern.machines.state import State
from kybern.machines.topology import Cluster, Machine
from kybern.netboot.seen import Seen, read
from kybern.netboot.standing import OtherKey, Standing, known_hosts, missing, standing
from kybern.reach.machines import Machines

SEEN = "/var/lib/kybern-netboot/seen.json"
ONE_LOOK = 20.0  # seconds for one command on a machine
BETWEEN = 3.0  # seconds between two looks


def netboot(  # each is a flag
    topology: Topology,
    reinstall: Annotated[
        list[str] | None,
        typer.Option("--reinstall", help="A machine to install anew; all that it has on its disk is lost."),
    ] = None,
    within: Annotated[
        int, typer.Option("--within", min=0, help="Seconds to wait for the machines; 0 does not wait.")
    ] = 3600,
    key: Annotated[
        Path | None,
        typer.Option("--key", help="Private SSH key that the server accepts; the machines will, too."),
    ] = None,
    accept: Annotated[
        bool, typer.Option("--accept-host-keys", help="Record the host key that the server shows, unseen.")
    ] = False,
    off: Annotated[bool, typer.Option("--off", help="Take the services off the server again.")] = False,
) -> None:
    """Install machines over the network: set up the topology's server, and wait until all answer by SSH."""
    cluster = machines.read(topology, None)
    server = server_of(cluster)
    wanted = tuple(machine for machine in cluster.machines if machine.mac)
    anew = orders(cluster, reinstall or ())
    kept = State.of(cluster.name)
    _reach(cluster, server, kept, key, accept=accept)
    path = machines.topology_path(topology)
    where = {"KYBERN_TOPOLOGY": str(path.absolute())}
    if off:
        run_deploy(NETBOOT, cluster, ("--data", "off=yes"), verb=NETBOOT, extra=where)
        print(f"{server.machines[0].address} installs nobody any more.")
        return
    preflight.root()
    _hand_on(path, cluster, kept)
    with Progress(f"Image for {cluster.name}") as progress:
        metal.build(progress.say, taking.packages(cluster))
    run_deploy(NETBOOT, cluster, _told(anew), verb=NETBOOT, extra=where)
    print(
        f"{server.machines[0].address} installs {', '.join(machine.name for machine in wanted)} as soon as they boot over "
        "the network.",
        flush=True,
    )
    if within:
        _wait(cluster, server, wanted, anew, within)
        print(f"{len(wanted)} machines of {cluster.name} answer by SSH. Next: kybern deploy {topology}")


def _hand_on(path: Path, cluster: Cluster, kept: State) -> None:
    """What deploys and people reach the machines with, as after an adoption."""
    state.write(kept.ssh_config, state.ssh_config(cluster, kept, cluster.ssh_user).encode())
    inventory = path.parent.parent / f"{path.stem}.py"
    if path.parent.name == "topology" and not inventory.exists():
        name = path.stem if path.parent == machines.TOPOLOGIES else str(path.absolute())
        text = adopting.inventory(name, "installed over the network", "machines netboot")
        state.write(inventory, text.encode(), 0o644)


def server_of(cluster: Cluster) -> Cluster:
    """The server, as a cluster of one machine. Raises MachineError for a topology without."""
    if cluster.netboot is None:
        raise MachineError(
            f'{cluster.name} has no "netboot" in its topology; add one with a "server", and a "mac" to each machine '
            "(docs/how-to/netboot.md)"
        )
    alone = Machine(NETBOOT, cluster.netboot.server, frozenset())
    return replace(cluster, machines=(alone,), ssh_user=cluster.netboot.ssh_user)


def orders(cluster: Cluster, names: Sequence[str]) -> Mapping[str, str]:
    """A new order for each machine that is to be installed anew. Raises MachineError for one that cannot be."""
    known = {machine.name: machine for machine in cluster.machines}
    for name in names:
        if name not in known:
            raise MachineError(f'cluster {cluster.name} has no machine "{name}"; it has {", ".join(known)}')
        if not known[name].mac:
            raise MachineError(f'cannot install {name} anew: it has no "mac" in the topology')
    return dict.fromkeys(names, f"{int(time.time())}-{secrets.token_hex(4)}")


def _told(anew: Mapping[str, str]) -> tuple[str, ...]:
    if not anew:
        return ()
    order = next(iter(anew.values()))
    return ("--data", f"order={order}", "--data", f"reinstall={','.join(anew)}")


def _reach(cluster: Cluster, server: Cluster, kept: State, key: Path | None, *, accept: bool) -> None:
    """That the server lets us in, by a key that is there and a host key that somebody has agreed to."""
    take_key(kept, key)
    state.ensure_key(kept.key, f"kybern-{cluster.name}")  # its public half is what the machines get
    (there,) = server.machines
    record_host_keys(kept, [there.address], accept=accept)
    if not asyncio.run(Machines(server).run(NETBOOT, "echo there", ONE_LOOK)):
        raise MachineError(
            f"cannot log in to netboot's server {there.address} as {server.ssh_user}, or become root there; add "
            f"{kept.key}.pub to its authorized_keys"
        )


def _wait(
    cluster: Cluster, server: Cluster, wanted: Sequence[Machine], anew: Mapping[str, str], within: float
) -> None:
    kept = State.of(cluster.name)
    deadline = time.monotonic() + within
    told: dict[str, str] = {}
    with Progress(f"Machines of {cluster.name}") as progress:
        while True:
            seen = asyncio.run(_seen(server, cluster.name, wanted))
            found = _standings(wanted, seen, kept, anew)
            there = asyncio.run(_answering(cluster, [one.name for one in found if one.done]))
            for one in found:
                text = f"answers at {one.address}" if one.name in there else one.told
                if told.get(one.name) != text:
                    progress.step(one.name, text)
                told[one.name] = text
            late = [one for one in found if one.name not in there]
            if not late:
                return
            if time.monotonic() > deadline:
                lines = "\n  ".join(missing(late, seen, time.time()))
                raise MachineError(
                    f"{len(late)} of {len(wanted)} machines do not answer within {within:.0f} s; run the same command again "
                    f"to wait on:\n  {lines}"
                )
            time.sleep(BETWEEN)  # nothing tells when a machine is there


def _standings(
    wanted: Sequence[Machine], seen: Mapping[str, Seen], kept: State, anew: Mapping[str, str]
) -> list[Standing]:
    """With the keys that machines have told recorded. Raises MachineError."""
    lines = kept.known_hosts.read_text().splitlines()
    recorded = {address: " ".join(key) for address, key in adopting.known(lines).items()}
    try:
        found = [
            standing(
                machine.name,
                str(machine.address),
                seen.get(machine.name),
                recorded.get(str(machine.address), ""),
                anew.get(machine.name, ""),
            )
            for machine in wanted
        ]
    except OtherKey as problem:
        raise MachineError(str(problem)) from problem
    fresh = [one for one in found if one.key and one.key != recorded.get(one.address)]
    if fresh:
        state.write(kept.known_hosts, ("\n".join(known_hosts(lines, fresh)) + "\n").encode())
    return found


async def _seen(server: Cluster, cluster: str, wanted: Sequence[Machine]) -> Mapping[str, Seen]:
    """By name. Nothing while the server does not answer: it may be back when it is asked again."""
    text = await Machines(server).run(NETBOOT, f"cat {SEEN} 2>/dev/null", ONE_LOOK)
    try:
        found = read(text) if text else {}
    except ValueError as problem:
        raise MachineError(f"cannot read {SEEN} of netboot's server: {problem}") from problem
    roots = {machine.name: partition(cluster, machine.name) for machine in wanted}
    return {name: found[root] for name, root in roots.items() if root in found}


async def _answering(cluster: Cluster, names: Sequence[str]) -> frozenset[str]:
    """Who lets us in, with the keys that are recorded."""
    said = await asyncio.gather(*(Machines(cluster).run(name, "echo there", ONE_LOOK) for name in names))
    return frozenset(name for name, text in zip(names, said, strict=True) if text)
