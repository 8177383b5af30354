"""Stateful sets in a whole control plane: scaling in order, canaries, rollouts, claims."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from kybern.api.apps_v1 import (
    RollingUpdateStatefulSetStrategy,
    StatefulSet,
    StatefulSetPersistentVolumeClaimRetentionPolicy,
    StatefulSetSpec,
    StatefulSetUpdateStrategy,
)
from kybern.api.core_v1 import Namespace, PersistentVolumeClaim, Pod
from kybern.api.meta_v1 import LabelSelector, ObjectMeta
from kybern.loop.settings import Settings
from kybern.machinery.struct import replace
from tests.simulation.cluster import Simulation, running
from tests.simulation.test_workloads import web

LABELS = {"app": "db"}


def database(count: int, image: str = "a", partition: int = 0) -> StatefulSet:
    template = web(1, image).spec.template
    policy = StatefulSetPersistentVolumeClaimRetentionPolicy(when_deleted="Delete", when_scaled="Delete")
    return StatefulSet(
        metadata=ObjectMeta(name="db", namespace="a"),
        spec=StatefulSetSpec(
            replicas=count,
            service_name="db",
            selector=LabelSelector(match_labels=LABELS),
            template=replace(template, metadata=replace(template.metadata, labels=LABELS)),
            revision_history_limit=10,
            pod_management_policy="OrderedReady",
            update_strategy=StatefulSetUpdateStrategy(
                type="RollingUpdate", rolling_update=RollingUpdateStatefulSetStrategy(partition=partition)
            ),
            volume_claim_templates=(PersistentVolumeClaim(metadata=ObjectMeta(name="data")),),
            persistent_volume_claim_retention_policy=policy,
        ),
    )


@pytest.fixture
async def cluster() -> AsyncIterator[Simulation]:
    names = ("statefulset-controller", "garbage-collector-controller")
    async with running(names, settings=Settings(root_ca="CA")) as simulation:
        kubelets = asyncio.create_task(simulation.kubelets())
        await simulation.api.create(Namespace(metadata=ObjectMeta(name="a")))
        yield simulation
        kubelets.cancel()


def current(cluster: Simulation) -> StatefulSet:
    found = cluster.api.one(StatefulSet, "a", "db")
    assert found is not None
    return found


def images(cluster: Simulation) -> dict[str, str]:
    return {pod.metadata.name: pod.spec.containers[0].image for pod in cluster.api.all(Pod)}


def settled(cluster: Simulation, count: int) -> bool:
    status = current(cluster).status
    return (status.replicas, status.available_replicas) == (count, count) and len(images(cluster)) == count


async def change(cluster: Simulation, **spec: Any) -> None:
    old = current(cluster)
    await cluster.api.patch(old, replace(old, spec=replace(old.spec, **spec)))


async def test_up_in_order_and_down_with_the_claims(cluster: Simulation) -> None:
    await cluster.api.create(database(3))
    await cluster.until(lambda: settled(cluster, 3))
    assert [body["metadata"]["name"] for _, kind, where, body in cluster.api.log
            if kind == "ADDED" and where.endswith("/pods")] == ["db-0", "db-1", "db-2"]  # fmt: skip

    await change(cluster, replicas=1)
    await cluster.until(lambda: settled(cluster, 1))
    await cluster.until(
        lambda: [one.metadata.name for one in cluster.api.all(PersistentVolumeClaim)] == ["data-db-0"]
    )
    await change(cluster, replicas=2)
    await cluster.until(lambda: settled(cluster, 2))
    await cluster.rest()


async def test_a_canary_then_the_rest_then_back(cluster: Simulation) -> None:
    await cluster.api.create(database(3))
    await cluster.until(lambda: settled(cluster, 3))
    first = current(cluster).status.current_revision

    canary = database(3, "b", partition=2)
    await change(cluster, template=canary.spec.template, update_strategy=canary.spec.update_strategy)
    await cluster.until(lambda: images(cluster) == {"db-0": "a", "db-1": "a", "db-2": "b"})
    await cluster.until(lambda: settled(cluster, 3))
    await cluster.rest()
    assert current(cluster).status.current_revision == first != current(cluster).status.update_revision

    await change(cluster, update_strategy=database(3).spec.update_strategy)
    await cluster.until(lambda: set(images(cluster).values()) == {"b"} and settled(cluster, 3))
    await cluster.until(lambda: current(cluster).status.current_revision != first)

    await change(cluster, template=database(3, "a").spec.template)
    await cluster.until(lambda: set(images(cluster).values()) == {"a"} and settled(cluster, 3))
    await cluster.until(lambda: current(cluster).status.current_revision == first)
    await cluster.rest()


async def test_deleting_one_takes_all_along(cluster: Simulation) -> None:
    await cluster.api.create(database(2))
    await cluster.until(lambda: settled(cluster, 2))

    await cluster.api.delete(current(cluster))

    await cluster.until(lambda: not [*cluster.api.all(Pod), *cluster.api.all(PersistentVolumeClaim)])
    await cluster.rest()
