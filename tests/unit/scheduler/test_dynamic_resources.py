"""Pods with device claims: what keeps them from nodes, what they take, and what is given back."""

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from kybern.api.core_v1 import Pod, PodResourceClaim, PodResourceClaimStatus, PodStatus
from kybern.api.meta_v1 import OwnerReference
from kybern.api.resource_v1 import (
    DeviceClass,
    ResourceClaim,
    ResourceClaimConsumerReference,
    ResourceClaimStatus,
)
from kybern.machinery.errors import Conflict
from kybern.machinery.struct import replace
from kybern.scheduler import settling
from kybern.scheduler.changes import Action, Happening
from kybern.scheduler.cycle import schedule
from kybern.scheduler.devices.offers import NAME
from kybern.scheduler.devices.podclaims import reserved
from kybern.scheduler.devices.writing import write
from kybern.scheduler.facts import PodFacts
from kybern.scheduler.outcomes import Placed, Refused
from kybern.scheduler.plain import cluster
from kybern.scheduler.plugins import dynamic_resources
from kybern.scheduler.queue import Queue
from kybern.scheduler.table import Table
from tests.unit.scheduler.making import DEFAULT, attempt, decide, node, pod, table_of
from tests.unit.scheduler.test_devices import GPU, claim, device, exactly, slice_of

NODES = ("n1", "n2")


def wants(name: str = "p", claim_name: str = "c", **more: Any) -> Pod:
    return pod(name, resource_claims=(PodResourceClaim(name="gpu", resource_claim_name=claim_name),), **more)


def table(
    *claims: ResourceClaim,
    devices: Mapping[str, int] | None = None,
    classes: tuple[DeviceClass, ...] = (GPU,),
) -> Table:
    """Two nodes with so many devices each."""
    found = table_of(*map(node, NODES))
    for name, number in (devices or {"n2": 1}).items():
        offered = (device(f"d{at}") for at in range(number))
        found.set_object(slice_of(*offered, name=f"s-{name}", pool=name, node_name=name))
    for one in (*claims, *classes):
        found.set_object(one)
    return found


def message(found: Placed | Refused) -> str:
    assert isinstance(found, Refused)
    return found.reasons


def taken(on: Table, one: Pod, number: int = 1) -> Placed | Refused:
    """Decide and reserve, as the loop does."""
    tried = attempt(one, on)
    found = schedule(tried, np.random.default_rng(number))
    if isinstance(found, Placed):
        assert settling.reserve(tried, found.node) is None
    return found


def test_a_pod_goes_where_there_are_devices() -> None:
    assert decide(wants(), table(claim(exactly()))) == Placed("n2")


def test_nobody_has_enough() -> None:
    found = decide(wants(), table(claim(exactly("r", 2))))

    assert message(found) == "0/2 nodes are available: 2 cannot allocate all claims."


@pytest.mark.parametrize(
    ("claims", "classes", "reason"),
    [
        ((), (GPU,), 'resourceclaim "c" not found'),
        ((claim(exactly()),), (), "request r: device class gpu does not exist"),
        (
            (replace(claim(exactly()), metadata=replace(pod("c", leaving=True).metadata, name="c")),),
            (GPU,),
            'resourceclaim "c" is being deleted',
        ),
    ],
)  # fmt: skip
def test_what_is_wrong_with_claims_is_about_the_pod(
    claims: tuple[ResourceClaim, ...], classes: tuple[DeviceClass, ...], reason: str
) -> None:
    found = decide(wants(), table(*claims, classes=classes))

    assert message(found) == f"0/2 nodes are available: {reason}."


def test_a_claim_that_is_made_for_another_pod_is_not_used() -> None:
    made = (PodResourceClaimStatus(name="gpu", resource_claim_name="c"),)
    entry = (PodResourceClaim(name="gpu", resource_claim_template_name="t"),)
    one = pod("p", resource_claims=entry, status=PodStatus(resource_claim_statuses=made))
    own = claim(exactly())
    mine = OwnerReference(api_version="v1", kind="Pod", name="p", uid="uid-p", controller=True)

    assert "was not created for pod default/p (pod is not owner)" in message(decide(one, table(own)))
    own = replace(own, metadata=replace(own.metadata, owner_references=(mine,)))
    assert decide(one, table(own)) == Placed("n2")


def test_a_pod_is_not_tried_before_its_claims_are_made() -> None:
    entry = (PodResourceClaim(name="gpu", resource_claim_template_name="t"),)
    waiting = pod("p", resource_claims=entry)
    queue = Queue({DEFAULT.name: DEFAULT})
    queue.set(PodFacts.of(waiting), 0.0)
    assert queue.pop(1.0) is None

    made = (PodResourceClaimStatus(name="gpu", resource_claim_name="c"),)
    queue.set(PodFacts.of(replace(waiting, status=PodStatus(resource_claim_statuses=made))), 2.0)
    assert queue.pop(100.0) is not None


def test_what_one_pod_took_the_next_does_not_get() -> None:
    wanted = [claim(exactly(), name=name) for name in "abc"]
    on = table(*wanted, devices={"n1": 1, "n2": 1})

    first, second = taken(on, wants("p", "a")), taken(on, wants("q", "b"))

    assert {first, second} == {Placed("n1"), Placed("n2")}
    assert "cannot allocate all claims" in message(decide(wants("r", "c"), on))


def test_what_is_given_back_is_free() -> None:
    on = table(claim(exactly(), name="a"), claim(exactly(), name="b"))
    tried = attempt(wants("p", "a"), on)
    assert schedule(tried, np.random.default_rng(1)) == Placed("n2")
    assert settling.reserve(tried, "n2") is None
    assert isinstance(decide(wants("q", "b"), on), Refused)

    settling.unreserve(tried, "n2")
    assert decide(wants("q", "b"), on) == Placed("n2")


def allocated(on: Table, one: ResourceClaim) -> ResourceClaim:
    """The claim with the devices that it gets there."""
    tried = attempt(wants("x", one.metadata.name), on)
    found = schedule(tried, np.random.default_rng(1))
    assert isinstance(found, Placed)
    settling.reserve(tried, found.node)
    (held,) = tried.state[NAME].held
    return replace(one, status=ResourceClaimStatus(allocation=held.status.allocation))


def test_an_allocated_claim_keeps_its_pod_where_the_devices_are() -> None:
    one = allocated(table(claim(exactly())), claim(exactly()))
    on = table(one, devices={"n1": 5, "n2": 1})

    assert decide(wants(), on) == Placed("n2")
    on.remove_node("n2")
    assert (
        message(decide(wants(), on)) == "0/1 nodes are available: 1 resourceclaim not available on the node."
    )


def test_a_claim_with_all_its_users_takes_no_more() -> None:
    one = claim(exactly())
    users = tuple(user(f"u{number}") for number in range(256))
    one = replace(one, status=replace(one.status, reserved_for=users))

    assert message(decide(wants(), table(one))) == "0/2 nodes are available: resourceclaim in use."


def user(name: str) -> ResourceClaimConsumerReference:
    return ResourceClaimConsumerReference(resource="pods", name=name, uid=f"uid-{name}")


@pytest.mark.parametrize("devices", [{"n1": 0, "n2": 1}, {"n1": 2, "n2": 2}, {"n1": 0, "n2": 0}])
@pytest.mark.parametrize("count", [1, 2])
def test_the_plain_form_says_the_same_of_each_node(devices: dict[str, int], count: int) -> None:
    on = table(claim(exactly("r", count)), devices=devices)
    plainly = {
        info.node.metadata.name
        for info in cluster(on).nodes
        if not dynamic_resources.refuse(wants(), info, cluster(on))
    }

    assert plainly == {name for name in NODES if devices[name] >= count}
    found = decide(wants(), on)
    assert (found.node in plainly) if isinstance(found, Placed) else not plainly


@pytest.mark.parametrize(
    ("old", "new", "helps"),
    [
        (None, claim(exactly()), True),
        (None, claim(exactly(), name="other"), False),
        ("allocated", claim(exactly(), name="other"), True),
        ("allocated", None, True),
    ],
)
def test_what_may_help(old: str | None, new: ResourceClaim | None, helps: bool) -> None:
    one = claim(exactly(), name="other")
    before = allocated(table(one), one) if old else None
    action = Action.CHANGED if old and new else Action.ADDED if new else Action.GONE

    assert (
        dynamic_resources.of_pod(PodFacts.of(wants()), Happening(ResourceClaim, action, new, before)) is helps
    )
    assert not reserved(one, wants())


class Api:
    """Takes patches of claims; the first ``conflicts`` of them are refused, and ``newest`` is what is there then."""

    def __init__(self, newest: ResourceClaim, conflicts: int = 0) -> None:
        self.newest = newest
        self.conflicts = conflicts
        self.written: list[tuple[ResourceClaim, str]] = []

    async def patch(self, _old: ResourceClaim, new: ResourceClaim, subresource: str = "") -> ResourceClaim:
        if self.conflicts:
            self.conflicts -= 1
            raise Conflict("changed")
        self.written.append((new, subresource))
        return new

    async def get(self, _kind: type[ResourceClaim], _name: str, _namespace: str) -> ResourceClaim:
        return self.newest


async def test_a_claim_that_leaves_its_pod_no_node_is_given_back() -> None:
    one = allocated(table(claim(exactly())), claim(exactly()))
    on = table(one, devices={"n1": 5, "n2": 1})
    on.remove_node("n2")
    tried = attempt(wants(), on)
    refused = schedule(tried, np.random.default_rng(1))
    assert isinstance(refused, Refused)
    api = Api(one)
    handle: Any = SimpleNamespace(client=api)

    relief = await dynamic_resources.post_filter(tried, refused, handle)

    assert relief.said == "deallocation of ResourceClaim completed"
    ((written, subresource),) = api.written
    assert (written.status.allocation, written.status.reserved_for, subresource) == (None, (), "status")


@pytest.mark.parametrize(("conflicts", "lost"), [(0, False), (1, False), (3, True)])
async def test_an_allocation_is_written_again_after_a_conflict(conflicts: int, lost: bool) -> None:
    one = claim(exactly())
    given = allocated(table(one), one).status.allocation
    api: Any = Api(one, conflicts)

    if lost:
        with pytest.raises(Conflict):
            await write(one, given, wants(), api)
        return
    written = await write(one, given, wants(), api)
    assert (written.status.allocation, reserved(written, wants())) == (given, True)


async def test_an_allocation_that_somebody_else_decided_is_not_overwritten() -> None:
    one = claim(exactly())
    theirs = allocated(table(one), one)
    api: Any = Api(theirs, 1)

    with pytest.raises(Conflict, match="has changed"):
        await write(one, theirs.status.allocation, wants(), api)
