"""Pods that ask for extended resources which classes of devices stand for."""

from collections.abc import Mapping
from dataclasses import replace as with_
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from kybern.api.core_v1 import Container, Pod, ResourceRequirements
from kybern.api.meta_v1 import ObjectMeta
from kybern.api.resource_v1 import DeviceClass, DeviceClassSpec, ResourceClaim
from kybern.machinery.struct import replace
from kybern.scheduler import settling
from kybern.scheduler.changes import Action, Happening
from kybern.scheduler.cycle import schedule
from kybern.scheduler.devices.extended import ANNOTATION, asked, classes, owned, stands_for
from kybern.scheduler.devices.offers import NAME
from kybern.scheduler.facts import PodFacts
from kybern.scheduler.framework import Attempt
from kybern.scheduler.objects import Objects
from kybern.scheduler.outcomes import Placed, Refused
from kybern.scheduler.plain import cluster
from kybern.scheduler.plugins import dynamic_resources
from kybern.scheduler.plugins.node_resources_fit import PLUGIN as FIT
from kybern.scheduler.requests import of_pod
from kybern.scheduler.table import Table
from tests.unit.scheduler.making import attempt, decide, node, pod, table_of
from tests.unit.scheduler.test_devices import device, slice_of

GPU = "example.com/gpu"
NOW = datetime(2026, 5, 1, tzinfo=UTC)


def class_of(name: str, resource: str = "", age: int = 0) -> DeviceClass:
    made = NOW - timedelta(hours=age)
    meta = ObjectMeta(name=name, creation_timestamp=made)
    return DeviceClass(metadata=meta, spec=DeviceClassSpec(extended_resource_name=resource))


def container(name: str, number: int, *, sidecar: bool = False, resource: str = GPU) -> Container:
    requests = {resource: str(number), "cpu": "1"} if number else {}
    policy = "Always" if sidecar else ""
    return Container(
        name=name, image="x", resources=ResourceRequirements(requests=requests), restart_policy=policy
    )


def wants(number: int = 1, resource: str = GPU, name: str = "p") -> Pod:
    return pod(name, extra={resource: str(number)})


def table(*, plugin: Mapping[str, str] | None = None, devices: Mapping[str, int] | None = None) -> Table:
    """Nodes n1 and n2, what a device plugin tells of n1, and so many devices in slices."""
    found = table_of(node("n1", extra=plugin or {}), node("n2"))
    for name, number in (devices or {}).items():
        offered = (device(f"d{at}") for at in range(number))
        found.set_object(slice_of(*offered, name=f"s-{name}", pool=name, node_name=name))
    found.set_object(class_of("gpu", GPU))
    return found


def said(found: Placed | Refused) -> str:
    assert isinstance(found, Refused)
    return found.reasons


def test_a_node_with_devices_gives_what_a_class_stands_for() -> None:
    assert decide(wants(), table(devices={"n2": 1})) == Placed("n2")
    assert decide(wants(2), table(devices={"n1": 2, "n2": 1})) == Placed("n1")
    every_class_has_a_name = "deviceclass.resource.kubernetes.io/gpu"
    assert decide(wants(resource=every_class_has_a_name), table(devices={"n2": 1})) == Placed("n2")


def test_a_node_that_has_the_resource_itself_gives_that() -> None:
    both = table(plugin={GPU: "1"}, devices={"n1": 5})

    assert decide(wants(), both) == Placed("n1")
    assert said(decide(wants(2), both)) == (
        f"0/2 nodes are available: 1 Insufficient {GPU}, 1 cannot allocate all claims."
    )
    tried = attempt(wants(), both)
    schedule(tried, np.random.default_rng(1))
    assert settling.reserve(tried, "n1") is None
    assert tried.state[NAME].held == ()


def test_without_a_class_the_resource_is_what_it_always_was() -> None:
    assert said(decide(wants(resource="example.com/other"), table(devices={"n2": 1}))) == (
        "0/2 nodes are available: 2 Insufficient example.com/other."
    )


@pytest.mark.parametrize("number", [1, 2, 3])
@pytest.mark.parametrize("plugin", [{}, {GPU: "2"}])
def test_the_plain_forms_say_the_same_of_each_node(number: int, plugin: dict[str, str]) -> None:
    on, wanted = table(plugin=plugin, devices={"n1": 2, "n2": 1}), wants(number)
    assert FIT.refuse is not None
    plainly = {
        info.node.metadata.name
        for info in cluster(on).nodes
        if not FIT.refuse(wanted, info, cluster(on))
        and not dynamic_resources.refuse(wanted, info, cluster(on))
    }
    found = decide(wanted, on)

    assert (found.node in plainly) if isinstance(found, Placed) else not plainly
    assert plainly == {name for name, there in (("n1", 2), ("n2", 1)) if there >= number}


def taken(on: Table, one: Pod) -> Attempt:
    tried = attempt(one, on)
    found = schedule(tried, np.random.default_rng(1))
    assert isinstance(found, Placed)
    assert settling.reserve(tried, found.node) is None
    return tried


def test_what_one_pod_took_the_next_does_not_get_until_it_is_given_back() -> None:
    on = table(devices={"n2": 1})
    first = taken(on, wants())
    assert "cannot allocate all claims" in said(decide(wants(name="q"), on))

    settling.unreserve(first, "n2")

    assert decide(wants(name="q"), on) == Placed("n2")
    gone = Happening(Pod, Action.GONE, old=wants())
    assert dynamic_resources.gave_back(PodFacts.of(wants(name="q")), gone)
    assert not dynamic_resources.gave_back(PodFacts.of(wants()), Happening(Pod, Action.GONE, old=pod("x")))


@pytest.mark.parametrize(
    ("first", "others", "requests", "mapped"),
    [
        # by number of the container and of the resource among its sorted ones
        ((), (container("a", 2),), {"container-0-request-1": 2}, {("a", "container-0-request-1")}),
        (
            (),
            (container("a", 1), container("b", 0), container("c", 3)),
            {"container-0-request-1": 1, "container-2-request-1": 3},
            {("a", "container-0-request-1"), ("c", "container-2-request-1")},
        ),
        # what ends before the others begin uses theirs
        (
            (container("i", 2),),
            (container("a", 1), container("b", 1)),
            {"container-1-request-1": 1, "container-2-request-1": 1},
            {
                ("i", "container-1-request-1"), ("i", "container-2-request-1"),
                ("a", "container-1-request-1"), ("b", "container-2-request-1"),
            },
        ),
        # and what they do not have is asked for once, for the one that needs most
        (
            (container("i", 2), container("j", 4)),
            (container("a", 1),),
            {"container-1-request-1": 3, "container-2-request-1": 1},
            {
                ("i", "container-2-request-1"), ("i", "container-1-request-1"),
                ("j", "container-2-request-1"), ("j", "container-1-request-1"),
                ("a", "container-2-request-1"),
            },
        ),
        # a sidecar that runs before has its own
        (
            (container("s", 1, sidecar=True), container("i", 1)),
            (container("a", 0),),
            {"container-0-request-1": 1, "container-1-request-1": 1},
            {("s", "container-0-request-1"), ("i", "container-1-request-1")},
        ),
    ],
)  # fmt: skip
def test_each_container_gets_a_request_and_those_that_end_share(
    first: tuple[Container, ...],
    others: tuple[Container, ...],
    requests: dict[str, int],
    mapped: set[tuple[str, str]],
) -> None:
    found, who = asked(pod("p", containers=others, init_containers=first), {GPU: "gpu"})

    assert {one.name: one.exactly.count for one in found if one.exactly} == requests
    assert [one.name for one in found] == sorted(requests)
    assert {(one.container_name, one.request_name) for one in who} == mapped
    assert {one.resource_name for one in who} == {GPU}


def test_of_several_classes_for_a_resource_the_newest_counts() -> None:
    objects = Objects()
    for one in (class_of("b", GPU, age=2), class_of("c", GPU), class_of("a", GPU), class_of("d", GPU, age=1)):
        objects.set(one)

    assert classes(of_pod(wants()), objects)[GPU].metadata.name == "a"
    assert classes(of_pod(wants(0)), objects) == {}


def test_a_class_that_comes_to_stand_for_a_resource_is_worth_another_try() -> None:
    facts = PodFacts.of(wants())

    assert stands_for(facts, Happening(DeviceClass, Action.ADDED, class_of("x", GPU)))
    assert not stands_for(facts, Happening(DeviceClass, Action.ADDED, class_of("x", "example.com/other")))


class Api:
    """Remembers what is made, patched and deleted."""

    def __init__(self) -> None:
        self.version = 10
        self.log: list[tuple[str, str, Any]] = []

    def _next(self, claim: ResourceClaim, **more: str) -> ResourceClaim:
        self.version += 1
        meta = replace(claim.metadata, resource_version=str(self.version), **more)
        return replace(claim, metadata=meta)

    async def create(self, claim: ResourceClaim) -> ResourceClaim:
        self.log.append(("create", claim.metadata.generate_name, claim))
        return self._next(claim, name=f"{claim.metadata.generate_name}x", uid="uid-made")

    async def patch(self, _old: ResourceClaim, new: ResourceClaim, subresource: str = "") -> ResourceClaim:
        self.log.append(("patch", subresource, new))
        return self._next(new)

    async def patch_raw(
        self, kind: type, namespace: str, name: str, body: Any, how: str, subresource: str
    ) -> None:
        self.log.append((f"{kind.__name__} {namespace}/{name}", f"{how} {subresource}", body))

    async def delete(self, claim: ResourceClaim) -> None:
        self.log.append(("delete", claim.metadata.name, claim))


def handle_of(api: Api) -> Any:
    return SimpleNamespace(client=api, binder=SimpleNamespace(clock=lambda: NOW))


async def test_the_claim_is_made_allocated_reserved_and_told_of_in_the_pod() -> None:
    on, api = table(devices={"n2": 1}), Api()
    tried = taken(on, wants())
    assert dynamic_resources.prepares(tried, "n2")

    assert await dynamic_resources.pre_bind(600, tried, "n2", handle_of(api)) == ""

    made, guarded, written, told = api.log
    claim = made[2]
    assert (claim.metadata.name, claim.metadata.uid, claim.metadata.generate_name) == (
        "", "", "p-extended-resources-",
    )  # fmt: skip
    assert claim.metadata.annotations == {ANNOTATION: "true"}
    assert owned(claim, wants())
    assert [one.name for one in claim.spec.devices.requests] == ["container-0-request-0"]
    assert guarded[2].metadata.finalizers == ("resource.kubernetes.io/delete-protection",)
    assert written[1] == "status"
    assert written[2].status.allocation.devices.results[0].device == "d0"
    assert written[2].status.allocation.allocation_timestamp == NOW
    assert [one.name for one in written[2].status.reserved_for] == ["p"]
    request = {"containerName": "c", "resourceName": GPU, "requestName": "container-0-request-0"}
    status = {"resourceClaimName": "p-extended-resources-x", "requestMappings": [request]}
    assert told == (
        "Pod default/p", "strategic status",
        {"metadata": {"uid": "uid-p"}, "status": {"extendedResourceClaimStatus": status}},
    )  # fmt: skip
    assert "cannot allocate all claims" in said(decide(wants(name="q"), on)), "before the watch brings it"


async def test_a_claim_that_is_left_from_a_failed_attempt_goes_first() -> None:
    on, api = table(devices={"n2": 1}), Api()
    tried = taken(on, wants())
    await dynamic_resources.pre_bind(600, tried, "n2", handle_of(api))
    settling.unreserve(tried, "n2")

    again = attempt(wants(), on)
    refused = schedule(again, np.random.default_rng(1))
    assert said(refused) == "0/2 nodes are available: 2 cannot schedule extended resource claim."
    assert isinstance(refused, Refused)
    assert all(
        dynamic_resources.refuse(wants(), info, cluster(on)) == ("cannot schedule extended resource claim",)
        for info in cluster(on).nodes
    )
    api.log.clear()
    relief = await dynamic_resources.post_filter(again, refused, handle_of(api))

    assert relief.said == "deletion of ResourceClaim completed"
    assert [(what, how) for what, how, _ in api.log] == [("patch", ""), ("delete", "p-extended-resources-x")]
    gone = Happening(ResourceClaim, Action.GONE, old=with_(again.state[NAME].special).claim)
    assert dynamic_resources.of_pod(PodFacts.of(wants()), gone)
    on.remove_object(gone.old)
    assert decide(wants(), on) == Placed("n2")
