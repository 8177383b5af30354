"""Owners and what they own in a whole control plane, as upstream's conformance tests of the garbage collector have them."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from typing import Any

import pytest

from kybern.api.core_v1 import (
    Namespace,
    Pod,
    ReplicationController,
    ReplicationControllerSpec,
)
from kybern.api.meta_v1 import ObjectMeta, OwnerReference
from kybern.loop.settings import Settings
from kybern.machinery.struct import replace
from tests.simulation.cluster import Simulation, running
from tests.simulation.test_workloads import LABELS, web


@pytest.fixture
async def cluster() -> AsyncIterator[Simulation]:
    names = ("replicationcontroller-controller", "garbage-collector-controller")
    async with running(names, settings=Settings(root_ca="CA")) as simulation:
        kubelets = asyncio.create_task(simulation.kubelets())
        await simulation.api.create(Namespace(metadata=ObjectMeta(name="a")))
        yield simulation
        kubelets.cancel()


def controller(name: str, count: int, labels: dict[str, str] = LABELS) -> ReplicationController:
    template = web(1).spec.template
    template = replace(template, metadata=replace(template.metadata, labels=labels))
    spec = ReplicationControllerSpec(replicas=count, selector=labels, template=template)
    return ReplicationController(metadata=ObjectMeta(name=name, namespace="a"), spec=spec)


async def started(cluster: Simulation, name: str, count: int) -> ReplicationController:
    await cluster.api.create(controller(name, count))
    await cluster.until(lambda: cluster.api.all(ReplicationController)[0].status.ready_replicas == count)
    await cluster.rest()
    return cluster.api.all(ReplicationController)[0]


def owned_by(*owners: Any) -> tuple[OwnerReference, ...]:
    return tuple(
        OwnerReference(
            api_version=owner.api_version,
            kind=owner.kind,
            name=owner.metadata.name,
            uid=owner.metadata.uid,
            block_owner_deletion=True,
        )
        for owner in owners
    )


async def own(cluster: Simulation, pod: Pod, more: Iterable[OwnerReference]) -> None:
    found = cluster.api.one(Pod, "a", pod.metadata.name)
    assert found is not None
    references = (*found.metadata.owner_references, *more)
    await cluster.api.patch(
        found, replace(found, metadata=replace(found.metadata, owner_references=references))
    )


@pytest.mark.parametrize("propagation", ["Background", "Orphan"])
async def test_pods_of_a_controller_go_or_stay_as_asked(cluster: Simulation, propagation: str) -> None:
    found = await started(cluster, "web", 5)
    before = {pod.metadata.uid for pod in cluster.api.all(Pod)}

    await cluster.api.delete(found, propagation=propagation)
    await cluster.until(lambda: not cluster.api.all(ReplicationController))
    if propagation == "Background":
        await cluster.until(lambda: not cluster.api.all(Pod))
    await cluster.rest()

    after = {pod.metadata.uid for pod in cluster.api.all(Pod)}
    assert after == (before if propagation == "Orphan" else set())
    assert [pod.metadata.owner_references for pod in cluster.api.all(Pod)] == [()] * len(after)


async def test_who_has_another_owner_stays_when_one_waits_for_it(cluster: Simulation) -> None:
    first = await started(cluster, "first", 4)
    await cluster.api.create(controller("stays", 0, {"app": "other"}))
    stays = next(one for one in cluster.api.all(ReplicationController) if one.metadata.name == "stays")
    half = cluster.api.all(Pod)[:2]
    for pod in half:
        await own(cluster, pod, owned_by(stays))
    await cluster.rest()

    await cluster.api.delete(first, propagation="Foreground")
    await cluster.until(lambda: len(cluster.api.all(ReplicationController)) == 1)
    await cluster.rest()

    left = cluster.api.all(Pod)
    assert {pod.metadata.uid for pod in left} == {pod.metadata.uid for pod in half}
    assert [pod.metadata.owner_references for pod in left] == [owned_by(stays)] * 2
    assert {pod.metadata.deletion_timestamp for pod in left} == {None}


async def test_a_circle_of_owners_goes(cluster: Simulation) -> None:
    for name in ("one", "two", "three"):
        spec = web(1).spec.template.spec
        await cluster.api.create(Pod(metadata=ObjectMeta(name=name, namespace="a"), spec=spec))
    await cluster.rest()
    one, two, three = cluster.api.all(Pod)
    for pod, owner in ((one, three), (two, one), (three, two)):
        await own(cluster, pod, owned_by(owner))
    await cluster.rest()

    await cluster.api.delete(one, propagation="Foreground")

    await cluster.until(lambda: not cluster.api.all(Pod))
