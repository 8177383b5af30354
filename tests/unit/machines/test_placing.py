"""Which machine goes to which hypervisor: laws first, then what an operator meets."""

from collections import Counter
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kybern.machines.errors import MachineError
from kybern.machines.placing import left_out, placed, refuse_forgotten, refuse_twice, spread
from kybern.machines.plan import Defined
from kybern.machines.topology import CONTROL_PLANE, ETCD, WORKER, Cluster, Machine

HOSTS = ("h1", "h2", "h3", "h4")
ROLES = st.sampled_from(
    [
        frozenset({ETCD, CONTROL_PLANE}),
        frozenset({ETCD, CONTROL_PLANE, WORKER}),
        frozenset({ETCD}),
        frozenset({CONTROL_PLANE}),
        frozenset({WORKER}),
    ]
)


def machine(name: str, *roles: str, on: str = "") -> Machine:
    return Machine(name, IPv4Address("10.9.0.1"), frozenset(roles), hypervisor=on)


def machines_of(roles: list[frozenset[str]]) -> tuple[Machine, ...]:
    return tuple(machine(f"m{number}", *each) for number, each in enumerate(roles))


def counted(
    machines: tuple[Machine, ...], where: dict[str, str], role: str, hosts: tuple[str, ...]
) -> list[int]:
    found = Counter(where[each.name] for each in machines if role in each.roles)
    return [found[name] for name in hosts]


@given(st.lists(ROLES, max_size=14), st.integers(1, 4))
def test_members_of_etcd_are_on_as_many_hypervisors_as_can_be(
    roles: list[frozenset[str]], count: int
) -> None:
    machines, hosts = machines_of(roles), HOSTS[:count]

    where = spread(machines, hosts, {})

    assert set(where) == {each.name for each in machines}
    members = counted(machines, where, ETCD, hosts)
    assert max(members) - min(members) <= 1


@given(
    st.integers(0, 9),
    st.lists(st.sampled_from([frozenset({WORKER}), frozenset({WORKER, CONTROL_PLANE})]), max_size=9),
    st.integers(1, 4),
)
def test_so_are_masters_that_are_members_and_workers(
    masters: int, others: list[frozenset[str]], count: int
) -> None:
    machines = machines_of([frozenset({ETCD, CONTROL_PLANE})] * masters + others)

    where = spread(machines, HOSTS[:count], {})

    found = counted(machines, where, CONTROL_PLANE, HOSTS[:count])
    assert max(found) - min(found) <= 1


@given(st.lists(ROLES, max_size=10), st.lists(ROLES, max_size=4), st.integers(1, 4))
def test_who_is_there_stays_whatever_comes(
    roles: list[frozenset[str]], more: list[frozenset[str]], count: int
) -> None:
    before = machines_of(roles)
    where = spread(before, HOSTS[:count], {})
    new = tuple(machine(f"a-new-{number}", *each) for number, each in enumerate(more))

    again = spread((*new, *before[1:]), HOSTS[:count], where)

    assert {each.name: again[each.name] for each in before[1:]} == {
        each.name: where[each.name] for each in before[1:]
    }


@given(
    st.lists(st.tuples(ROLES, st.sampled_from(["", *HOSTS])), max_size=10),
    st.dictionaries(st.sampled_from([f"m{n}" for n in range(10)]), st.sampled_from(HOSTS)),
)
def test_a_line_that_names_a_hypervisor_is_obeyed_and_members_fill_the_empty_ones(
    lines: list[tuple[frozenset[str], str]], there: dict[str, str]
) -> None:
    machines = tuple(machine(f"m{n}", *roles, on=on) for n, (roles, on) in enumerate(lines))

    where = spread(machines, HOSTS, there)

    for each in machines:
        fixed = each.hypervisor or there.get(each.name, "")
        assert fixed in ("", where[each.name])
    members = [each for each in machines if each.is_etcd]
    fixed_on = {each.hypervisor or there.get(each.name, "") for each in members} - {""}
    free = sum(not (each.hypervisor or there.get(each.name, "")) for each in members)
    assert len({where[each.name] for each in members}) == min(len(HOSTS), len(fixed_on) + free)


def cluster(*machines: Machine) -> Cluster:
    return Cluster(
        "c", IPv4Network("10.9.0.0/24"), IPv4Address("10.9.0.1"), None, machines, driver="qemu", bridge="br0",
        hypervisors=(("h1", "qemu:///system"), ("h2", "qemu+tls://h2/system")),
    )  # fmt: skip


def defined(name: str, on: str) -> Defined:
    return Defined("c", name, "10.9.0.1", frozenset(), "", (), active=True, hypervisor=on)


def test_three_masters_and_two_workers_on_two_hosts() -> None:
    masters = [machine(f"master-{n}", ETCD, CONTROL_PLANE) for n in (1, 2, 3)]
    workers = [machine(f"worker-{n}", WORKER) for n in (1, 2)]

    made = placed(cluster(*workers, *masters), ())

    assert {each.name: each.hypervisor for each in made.machines} == {
        "master-1": "h1", "master-2": "h2", "master-3": "h1", "worker-1": "h2", "worker-2": "h1",
    }  # fmt: skip
    assert placed(made, ()) == made


def test_a_cluster_without_hypervisors_is_left_as_it_is() -> None:
    here = replace(cluster(machine("a", ETCD)), hypervisors=())

    assert placed(here, [defined("a", "")]) is here


def test_who_may_be_on_a_silent_hypervisor_is_left_out() -> None:
    lab = cluster(machine("a", on="h1"), machine("b", on="h2"), machine("c"), machine("d"))

    assert left_out(lab, [defined("c", "h1")], ["h2"]) == {"b", "d"}
    assert left_out(lab, [defined("c", "h1")], []) == frozenset()


def test_a_machine_that_is_there_twice_is_told() -> None:
    refuse_twice([defined("a", "h1"), defined("b", "h2")])
    with pytest.raises(MachineError, match="a is on h1 and on h2; look which one is to stay"):
        refuse_twice([defined("a", "h1"), defined("a", "h2")])


def test_machines_on_a_hypervisor_that_the_topology_has_no_more_are_told() -> None:
    lab = cluster(machine("a"), machine("b"))

    refuse_forgotten(lab, {"a": "h1", "gone": "h9"})
    with pytest.raises(MachineError, match='c has b on h9, which the topology\'s "hypervisors" lack'):
        refuse_forgotten(lab, {"a": "h1", "b": "h9"})
