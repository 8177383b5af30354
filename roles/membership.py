"""Operations that change who is a member of etcd: ``join`` and ``expel``. Which member, and whether, decides roles/members.

Both do nothing where nothing is to be done, so that they may be killed and run again. A new member joins as a learner,
which has no vote, and is promoted when it has caught up. One leaves only when the others have a quorum without it.
"""

from collections.abc import Sequence
from dataclasses import replace

from pyinfra import host
from pyinfra.api import StringCommand, operation

from kybern.machines import etcdctl as words
from kybern.machines.topology import Cluster, Machine
from roles import facts
from roles.cluster import ETCD_CLIENT_PORT, ETCD_PEER_PORT
from roles.members import cannot_join, healthy, initial, listed, may_leave, of_name
from roles.operations import COMMAND_SECONDS, FACT_SECONDS, Commands
from roles.record import change, planned
from roles.templates import render

JOIN_SECONDS = 120


def etcdctl(machines: Sequence[Machine] = (), seconds: int = 10) -> str:
    """The client of etcd, asking these members, or the one of this machine; ``seconds`` is what an answer may take."""
    addresses = [machine.host for machine in machines] or [words.HERE]
    return words.etcdctl(addresses, seconds)


def peer(machine: Machine) -> str:
    return f"https://{machine.host}:{ETCD_PEER_PORT}"


@operation()
def join(
    cluster: Cluster, machine: Machine, known: Sequence[Machine], unit: str, data: str, bootstrap: str
) -> Commands:
    """Make this machine a member of the cluster that the ``known`` machines are, and let it vote."""
    has_data = host.get_fact(facts.Succeeds, f"test -d {data}/member", _timeout=FACT_SECONDS)
    ask = etcdctl(known)
    answer = host.get_fact(facts.Answer, f"{ask} member list -w json", _timeout=FACT_SECONDS)
    own = of_name(listed(answer), machine.name, peer(machine)) if answer else None
    if has_data and own and not own.learner:
        host.noop("it is a member")
        return
    members = listed(answer) if answer else ()
    why = cannot_join(members, own, cluster.name, machine.name, has_data)
    joining = change("member", machine.name, "add")
    yield from planned(replace(joining, diff=(f"it will be refused: {why}",) if why else ()))
    if not answer:
        names = " or ".join(each.name for each in known)
        yield refused(f"cannot let {machine.name} join: no member of etcd answers; start {names}")
        return
    if why:
        yield refused(f"cannot let {machine.name} join: {why}")
        return
    add = f"{ask} member add {machine.name} --learner --peer-urls={peer(machine)}"
    script = render(
        "etcd/join.sh",
        add="" if own else add,
        initial="" if has_data else initial(members, machine.name, peer(machine)),
        bootstrap=bootstrap,
        unit=unit,
        etcdctl=ask,
        name=machine.name,
        client=f"https://{machine.host}:{ETCD_CLIENT_PORT}",
        seconds=JOIN_SECONDS,
    )
    yield StringCommand(script.decode(), _timeout=JOIN_SECONDS + COMMAND_SECONDS)


@operation()
def expel(leaving: str, address: str = "") -> Commands:
    """Have the cluster forget a member, asked of the member on this machine. Nothing for one that it does not know."""
    ask = etcdctl()
    answer = host.get_fact(facts.Answer, f"{ask} member list -w json", _timeout=FACT_SECONDS)
    if not answer:
        yield refused(f"cannot remove the member {leaving}: the one asked does not answer")
        return
    members = listed(answer)
    member = of_name(members, leaving, f"https://{address}:{ETCD_PEER_PORT}")
    if member is None:
        host.noop(f"etcd has no member {leaving}")
        return
    yield from planned(change("member", leaving, "remove"))
    well = host.get_fact(facts.Answer, f"{ask} endpoint health --cluster -w json", _timeout=FACT_SECONDS)
    if not may_leave(members, healthy(well), member):
        yield refused(
            f"cannot remove the member {leaving}: the others would have no quorum; bring one of them back first"
        )
        return
    yield StringCommand(f"{ask} member remove {member.id}", _timeout=COMMAND_SECONDS)


def refused(why: str) -> StringCommand:
    """Told when its turn comes: while a run is prepared, machines may lack what is asked."""
    return StringCommand(f"echo '{why}' >&2; exit 1", _timeout=FACT_SECONDS)
