"""Which claims a pod uses, whether it may, and what its containers see of them."""

import asyncio
from typing import Any

import pytest

from kybern.api.core_v1 import (
    Container,
    ContainerExtendedResourceRequest,
    Pod,
    PodExtendedResourceClaimStatus,
    PodResourceClaim,
    PodResourceClaimStatus,
    ResourceRequirements,
)
from kybern.api.core_v1 import ResourceClaim as ContainerClaim
from kybern.api.meta_v1 import ObjectMeta, OwnerReference
from kybern.api.resource_v1 import (
    AllocationResult,
    DeviceAllocationResult,
    DeviceRequestAllocationResult,
    ResourceClaim,
    ResourceClaimConsumerReference,
    ResourceClaimStatus,
)
from kybern.kubelet.dra.claims import (
    EXTENDED,
    CannotPrepare,
    Device,
    Prepared,
    Use,
    check,
    drivers,
    has_any,
    names,
    uses,
)
from kybern.kubelet.dra.driver import version
from kybern.kubelet.dra.turns import Turns
from kybern.machinery.struct import replace
from tests.unit.kubelet.making import container, pod


def using(name: str, *claims: str) -> Container:
    """``gpu`` is a whole claim, ``gpu/big`` a request of one."""
    found = tuple(ContainerClaim(name=one.partition("/")[0], request=one.partition("/")[2]) for one in claims)
    return container(name, resources=ResourceRequirements(claims=found))


def with_claims(*containers: Container, made: dict[str, str] | None = None, **more: Any) -> Pod:
    claims = (
        PodResourceClaim(name="named", resource_claim_name="shared"),
        PodResourceClaim(name="templated", resource_claim_template_name="t"),
    )
    found = pod(*containers, resource_claims=claims, **more)
    told = tuple(PodResourceClaimStatus(name=k, resource_claim_name=v) for k, v in (made or {}).items())
    return replace(found, status=replace(found.status, resource_claim_statuses=told))


def claim(*results: str, reserved: str = "u1", owner: str = "u1") -> ResourceClaim:
    found = tuple(DeviceRequestAllocationResult(driver=one, request="r") for one in results)
    return ResourceClaim(
        metadata=ObjectMeta(
            name="c", namespace="default", uid="cu", owner_references=(OwnerReference(uid=owner),)
        ),
        status=ResourceClaimStatus(
            allocation=AllocationResult(devices=DeviceAllocationResult(results=found)) if results else None,
            reserved_for=(ResourceClaimConsumerReference(uid=reserved),),
        ),
    )


def test_only_claims_that_containers_use_count() -> None:
    assert list(uses(with_claims(container()))) == []
    assert list(uses(with_claims(using("c", "named")))) == [Use("named", "shared", own=False)]
    first = with_claims(container(), init_containers=(using("i", "templated"),), made={"templated": "web-x"})
    assert list(uses(first)) == [Use("templated", "web-x", own=True)]


def test_a_claim_that_is_not_made_yet_is_waited_for_and_one_that_is_not_needed_is_left_out() -> None:
    with pytest.raises(CannotPrepare, match='pod "default/web": ResourceClaim not created yet'):
        list(uses(with_claims(using("c", "templated"))))
    assert list(uses(with_claims(using("c", "templated"), made={"templated": ""}))) == []


@pytest.mark.parametrize(
    ("found", "complaint"),
    [
        (claim("d", owner="u2"), r"default/c was not created for pod default/web \(pod is not owner\)"),
        (claim("d", reserved="u2"), r"pod web \(u1\) is not allowed to use ResourceClaim c \(cu\)"),
        (claim(), "ResourceClaim c is not allocated"),
    ],
)
def test_a_claim_that_the_pod_may_not_use(found: ResourceClaim, complaint: str) -> None:
    with pytest.raises(CannotPrepare, match=complaint):
        check(pod(), Use("a", "c", own=True), found)


def test_a_shared_claim_needs_no_owner_and_each_driver_is_asked_once() -> None:
    check(pod(), Use("a", "c", own=False), claim("d", owner="u2"))

    assert drivers(claim("d", "e", "d")) == ("d", "e")


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        (("gpu",), ("v/big", "v/small", "v/any")),
        (("gpu/big",), ("v/big", "v/any")),
        (("gpu/small",), ("v/small", "v/any")),
        (("gpu/big", "gpu"), ("v/big", "v/any", "v/small")),
        (("other",), ()),
    ],
)
def test_a_container_sees_whole_claims_or_single_requests(
    asked: tuple[str, ...], expected: tuple[str, ...]
) -> None:
    devices = (
        Device(("big",), "p", "1", ("v/big",)),
        Device(("small/second",), "p", "2", ("v/small",)),
        Device((), "p", "3", ("v/any",)),
    )
    found = Prepared("cu", "default", "c", ("d",), ("u1",), devices, done=True)

    assert names(pod(), using("c", *asked), {"gpu": found}) == expected


def test_nothing_starts_with_a_claim_that_is_not_prepared() -> None:
    found = Prepared("cu", "default", "c", ("d",), ("u1",))

    with pytest.raises(CannotPrepare, match="unable to get resource for namespace: default, claim: c"):
        names(pod(), using("c", "gpu"), {"gpu": found})


def asking(name: str, **requests: str) -> Container:
    """``gpu="1"`` is a request for one example.com/gpu."""
    found = {f"example.com/{resource}": amount for resource, amount in requests.items()}
    return container(name, resources=ResourceRequirements(requests=found))


def with_extended(*containers: Container, mapped: tuple[tuple[str, str, str], ...]) -> Pod:
    """``mapped``: container, resource and the request that the scheduler made for them."""
    found = pod(*containers)
    told = PodExtendedResourceClaimStatus(
        resource_claim_name="web-extended-resources-x",
        request_mappings=tuple(
            ContainerExtendedResourceRequest(
                container_name=each, resource_name=f"example.com/{resource}", request_name=request
            )
            for each, resource, request in mapped
        ),
    )
    return replace(found, status=replace(found.status, extended_resource_claim_status=told))


def test_the_claim_for_extended_resources_is_prepared_like_others() -> None:
    plain, special = pod(), with_extended(asking("a", gpu="1"), mapped=(("a", "gpu", "r0"),))

    assert not has_any(plain)
    assert has_any(special)
    assert list(uses(special)) == [Use(EXTENDED, "web-extended-resources-x", own=False)]


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        (asking("a", gpu="1"), ("v/0",)),
        (asking("b", gpu="2", nic="1"), ("v/1", "v/2", "v/3")),
        (asking("b", gpu="0", nic="1"), ("v/3",)),
        (asking("c", gpu="1"), ()),
        (container("a"), ()),
    ],
)
def test_a_container_sees_the_devices_of_the_extended_resources_it_asks_for(
    asked: Container, expected: tuple[str, ...]
) -> None:
    mapped = (("a", "gpu", "r0"), ("b", "gpu", "r1"), ("b", "nic", "r2"))
    devices = tuple(
        Device((request,), "p", str(number), (f"v/{number}",))
        for number, request in enumerate(("r0", "r1", "r1", "r2"))
    )
    found = Prepared("cu", "default", "web-extended-resources-x", ("d",), ("u1",), devices, done=True)

    assert names(with_extended(asked, mapped=mapped), asked, {EXTENDED: found}) == expected


@pytest.mark.parametrize(
    ("offered", "spoken"),
    [
        (("v1.DRAPlugin", "v1beta1.DRAPlugin"), "v1"),
        (("v1beta1.DRAPlugin",), "v1beta1"),
        (("v1alpha4.Node", "1.0.0"), ""),
    ],
)
def test_the_best_version_is_spoken(offered: tuple[str, ...], spoken: str) -> None:
    assert version(offered) == spoken


async def test_turns_are_one_after_the_other_for_each_name_and_leave_nothing() -> None:
    turns, order, open_ = Turns(), [], asyncio.Event()

    async def holds(what: str, *names: str) -> None:
        async with turns.of(names):
            order.append(what)
            await open_.wait()

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(holds("ab", "a", "b"))
        tasks.create_task(holds("ba", "b", "a"))
        tasks.create_task(holds("c", "c"))
        gone = tasks.create_task(holds("gone", "c"))
        for _turn in range(10):
            await asyncio.sleep(0)
        before = sorted(order)
        gone.cancel()
        open_.set()

    assert before == ["ab", "c"]
    assert sorted(order) == ["ab", "ba", "c"]
    assert len(turns) == 0
