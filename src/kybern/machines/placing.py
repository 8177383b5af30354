"""Which machine is made on which hypervisor. Pure.

A machine is where its line says; else where it is already, so that a line more or less in a topology moves nobody; else on
the hypervisor that has the fewest of its role. Members of etcd are placed first: as many hypervisors as possible have one,
and no hypervisor that could do with fewer has more of them than another.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace

from kybern.machines.errors import MachineError
from kybern.machines.plan import Defined
from kybern.machines.topology import WORKER, Cluster, Machine


def placed(cluster: Cluster, there: Iterable[Defined]) -> Cluster:
    """The cluster with a hypervisor for each machine; as it is, where it has no hypervisors."""
    if not cluster.hypervisors:
        return cluster
    has = {each.machine: each.hypervisor for each in there}
    names = [name for name, _uri in cluster.hypervisors]
    found = spread(cluster.machines, names, has)
    return located(cluster, found)


def located(cluster: Cluster, where: Mapping[str, str]) -> Cluster:
    """The cluster with the machines on the hypervisors that are told, by their names."""
    machines = tuple(
        replace(each, hypervisor=where.get(each.name, each.hypervisor)) for each in cluster.machines
    )
    return replace(cluster, machines=machines)


def spread(
    machines: Iterable[Machine], hypervisors: Iterable[str], there: Mapping[str, str]
) -> dict[str, str]:
    """By the machines' names. ``there``: where those are that exist."""
    machines, names = tuple(machines), tuple(hypervisors)
    where = {each.name: each.hypervisor or there.get(each.name, "") for each in machines}
    found = {each.name: each for each in machines if where[each.name]}
    # Members first, then masters, then workers: the later ones fill what the first leave.
    for machine in sorted(machines, key=lambda each: (not each.is_etcd, not each.is_master)):
        if machine.name not in found:
            beside = {name: [one for one in found.values() if where[one.name] == name] for name in names}
            where[machine.name] = min(names, key=lambda name: _crowd(machine, beside[name]))
            found[machine.name] = machine
    return where


def _crowd(machine: Machine, beside: list[Machine]) -> tuple[int, ...]:
    """How much a machine would share with those of one hypervisor: what hurts the most to lose together comes first."""
    return (
        sum(one.is_etcd for one in beside) if machine.is_etcd else 0,
        sum(one.is_master for one in beside) if machine.is_master else 0,
        sum(WORKER in one.roles for one in beside) if WORKER in machine.roles else 0,
        len(beside),
    )


def left_out(cluster: Cluster, there: Iterable[Defined], silent: Iterable[str]) -> frozenset[str]:
    """The machines that nothing can be decided for: on hypervisors that do not answer, or perhaps there."""
    has, dead = {each.machine for each in there}, frozenset(silent)
    if not dead:
        return frozenset()
    return frozenset(
        each.name
        for each in cluster.machines
        if each.hypervisor in dead or (not each.hypervisor and each.name not in has)
    )


def refuse_twice(there: Iterable[Defined]) -> None:
    """One machine is on one hypervisor: MachineError where somebody has copied or moved one by halves."""
    seen: dict[str, str] = {}
    for each in there:
        if each.name in seen:
            raise MachineError(
                f"{each.machine} is on {seen[each.name]} and on {each.hypervisor}; look which one is to stay, and remove "
                f"the other there with 'virsh undefine {each.name}'"
            )
        seen[each.name] = each.hypervisor


def refuse_forgotten(cluster: Cluster, noted: Mapping[str, str]) -> None:
    """Machines were made on hypervisors that the topology has no more: they would be made twice."""
    known = dict(cluster.hypervisors)
    names = {each.name for each in cluster.machines}
    lost = {machine: name for machine, name in noted.items() if name not in known and machine in names}
    if lost:
        told = ", ".join(f"{machine} on {name}" for machine, name in sorted(lost.items()))
        raise MachineError(
            f'cluster {cluster.name} has {told}, which the topology\'s "hypervisors" lack; name them again, or run '
            "'kybern machines down' with the topology they were made from first"
        )
