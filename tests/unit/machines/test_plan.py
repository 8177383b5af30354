from dataclasses import replace
from ipaddress import IPv4Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kybern.machines.errors import MachineError
from kybern.machines.plan import (
    Define,
    Defined,
    Resize,
    Start,
    Undefine,
    Wanted,
    plan,
    refuse_smaller,
    replaced,
    wanted,
)
from kybern.machines.topology import Cluster


def made(target: Wanted, *, active: bool = True) -> Defined:
    return Defined(
        cluster=target.cluster,
        machine=target.machine.name,
        address=str(target.machine.address),
        roles=target.machine.roles,
        identity=target.identity,
        size=target.size,
        active=active,
        firmware=target.firmware,
        autostart=target.machine.autostart,
    )


def changed(target: Wanted, **fields: object) -> Wanted:
    return replace(target, machine=replace(target.machine, **fields))  # type: ignore[arg-type]


def test_a_machine_that_is_not_there_is_defined_and_started(cluster: Cluster) -> None:
    master, worker = wanted(cluster)

    assert plan((master, worker), (made(worker),)) == (Define(master), Start("small-master-1"))


def test_machines_as_wanted_need_nothing(cluster: Cluster) -> None:
    targets = wanted(cluster)

    assert plan(targets, map(made, targets)) == ()


def test_a_machine_that_is_off_is_started(cluster: Cluster) -> None:
    master, _ = wanted(cluster)

    assert plan((master,), (made(master, active=False),)) == (Start("small-master-1"),)


def test_a_machine_that_runs_restarts_for_its_new_size(cluster: Cluster) -> None:
    master, _ = wanted(cluster)
    larger = changed(master, memory=4096)

    assert plan((larger,), (made(master),)) == (Resize(larger, restart=True),)


def test_a_machine_that_is_off_is_resized_before_its_start(cluster: Cluster) -> None:
    master, _ = wanted(cluster)
    larger = changed(master, cpus=4)

    assert plan((larger,), (made(master, active=False),)) == (
        Resize(larger, restart=False),
        Start(larger.name),
    )


def test_new_roles_are_noted_without_a_restart(cluster: Cluster) -> None:
    _, worker = wanted(cluster)
    promoted = changed(worker, roles=frozenset({"etcd"}))

    assert plan((promoted,), (made(worker),)) == (Resize(promoted, restart=False),)


def test_a_machine_at_another_address_is_a_new_machine(cluster: Cluster) -> None:
    master, _ = wanted(cluster)
    moved = changed(master, address=IPv4Address("10.9.0.99"))
    old = made(master)

    actions = plan((moved,), (old,))

    assert actions == (Undefine(old), Define(moved), Start(moved.name))
    assert replaced(actions) == ("small-master-1",)


def test_a_machine_that_left_the_topology_goes_first(cluster: Cluster) -> None:
    master, worker = wanted(cluster)
    gone = made(worker)

    assert plan((master,), (gone,)) == (Undefine(gone), Define(master), Start(master.name))


def test_a_machine_of_another_kind_is_a_new_machine(cluster: Cluster) -> None:
    container, _ = wanted(cluster)
    virtual, _ = wanted(replace(cluster, driver="qemu"))

    assert container.identity != virtual.identity


def test_names_identities_and_hardware_addresses_are_the_same_in_every_life(cluster: Cluster) -> None:
    first, second = wanted(cluster)[0], wanted(cluster)[0]

    assert (first.uuid, first.mac) == (second.uuid, second.mac)
    assert first.mac.startswith("52:54:00:")
    assert first.mac != wanted(cluster)[1].mac


@given(
    present=st.lists(st.booleans(), min_size=2, max_size=2),
    active=st.booleans(),
    memory=st.integers(min_value=1, max_value=9999),
)
def test_a_second_plan_after_the_first_is_empty(present: list[bool], active: bool, memory: int) -> None:
    from ipaddress import IPv4Network

    from tests.unit.machines.conftest import MASTER, NODE

    small = Cluster(
        "small",
        IPv4Network("10.9.0.0/24"),
        IPv4Address("10.9.0.1"),
        None,
        (replace(MASTER, memory=memory), NODE),
    )
    targets = wanted(small)
    has = {
        target.name: made(changed(target, memory=1024), active=active)
        for target, there in zip(targets, present, strict=True)
        if there
    }

    for action in plan(targets, has.values()):
        match action:
            case Define(wanted=target):
                has[target.name] = made(target, active=False)
            case Resize(wanted=target):
                has[target.name] = made(target, active=has[target.name].active)
            case Start(name=name):
                has[name] = replace(has[name], active=True)
            case Undefine(defined=old):
                del has[old.name]

    assert plan(targets, has.values()) == ()


def test_another_firmware_or_disk_needs_the_machine_off_and_autostart_does_not(cluster: Cluster) -> None:
    master, _ = wanted(cluster)
    for more, off in (
        ({"disks": (1024,)}, True),
        ({"firmware": "uefi"}, True),
        ({"autostart": True}, False),
    ):
        other = changed(master, **more)
        assert plan((other,), (made(master),)) == (Resize(other, restart=off),), more


def test_disks_grow_and_neither_shrink_nor_go(cluster: Cluster) -> None:
    master, _ = wanted(cluster)
    has = made(changed(master, disks=(1024, 2048)))

    refuse_smaller([changed(master, disk=20480, disks=(1024, 4096, 512))], [has])
    refuse_smaller([changed(master, address=IPv4Address("10.9.0.99"))], [has])
    with pytest.raises(MachineError, match="data-2 of master-1 shrink from 2048 to 1024 MiB"):
        refuse_smaller([changed(master, disks=(1024, 1024))], [has])
    with pytest.raises(MachineError, match=r"data-2 of master-1 go \(2048 MiB\)"):
        refuse_smaller([changed(master, disks=(1024,))], [has])
    with pytest.raises(MachineError, match="its disk of master-1 shrink"):
        refuse_smaller([changed(master, disk=5120, disks=(1024, 2048))], [has])
