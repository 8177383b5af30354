"""Stateful sets in a whole control plane: scaling in order, canaries, rollouts, claims."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
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


async def break_(cluster: Simulation, *names: str, mend: bool = False) -> None:
    """A probe that fails, or does again what it should."""
    for pod in cluster.api.all(Pod):
        if not names or pod.metadata.name in names:
            now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
            ready = {"type": "Ready", "status": str(mend), "lastTransitionTime": now}
            await cluster.api.set_status(pod, phase="Running", conditions=[ready])


def ready(cluster: Simulation) -> int:
    return current(cluster).status.ready_replicas or 0


def observed(cluster: Simulation) -> bool:
    return current(cluster).status.observed_generation == current(cluster).metadata.generation


async def test_scaling_halts_while_a_pod_is_broken_and_goes_in_order(cluster: Simulation) -> None:
    await cluster.api.create(database(1))
    await cluster.until(lambda: settled(cluster, 1))

    await break_(cluster)
    await cluster.until(lambda: ready(cluster) == 0)
    await change(cluster, replicas=3)
    await cluster.until(lambda: observed(cluster))
    await cluster.rest()
    assert list(images(cluster)) == ["db-0"]
    await break_(cluster, mend=True)
    await cluster.until(lambda: settled(cluster, 3))

    await break_(cluster)
    await cluster.until(lambda: ready(cluster) == 0)
    mark = len(cluster.api.log)
    await change(cluster, replicas=0)
    await cluster.until(lambda: observed(cluster))
    await asyncio.sleep(0.2)
    # The lowest of the broken ones may go, and only when those above it are gone.
    assert sorted(images(cluster)) == ["db-0", "db-1", "db-2"]
    await break_(cluster, mend=True)
    await cluster.until(lambda: not cluster.api.all(Pod))
    assert [body["metadata"]["name"] for _, kind, where, body in cluster.api.log[mark:]
            if kind == "DELETED" and where.endswith("/pods")] == ["db-2", "db-1", "db-0"]  # fmt: skip


async def test_a_pod_comes_back_in_the_revision_of_its_side_of_the_partition(cluster: Simulation) -> None:
    await cluster.api.create(database(3, partition=3))
    await cluster.until(lambda: settled(cluster, 3))
    assert current(cluster).status.current_revision == current(cluster).status.update_revision

    await change(cluster, template=database(3, "b").spec.template)
    await cluster.until(lambda: observed(cluster))
    await cluster.rest()
    before = current(cluster).status
    assert before.current_revision != before.update_revision
    assert set(images(cluster).values()) == {"a"}

    await change(cluster, update_strategy=database(3, partition=2).spec.update_strategy)
    wanted = {"db-0": "a", "db-1": "a", "db-2": "b"}
    await cluster.until(lambda: images(cluster) == wanted and settled(cluster, 3))
    gone = [pod for pod in cluster.api.all(Pod) if pod.metadata.name in {"db-0", "db-2"}]
    for pod in gone:
        await cluster.api.delete(pod)
    uids = {pod.metadata.uid for pod in gone}
    await cluster.until(lambda: not uids & {pod.metadata.uid for pod in cluster.api.all(Pod)})
    await cluster.until(lambda: settled(cluster, 3))
    marks = {"a": before.current_revision, "b": before.update_revision}
    assert {
        pod.metadata.name: (pod.spec.containers[0].image, pod.metadata.labels["controller-revision-hash"])
        for pod in cluster.api.all(Pod)
    } == {name: (image, marks[image]) for name, image in wanted.items()}

    for partition in (1, 0):
        await change(cluster, update_strategy=database(3, partition=partition).spec.update_strategy)
        wanted[f"db-{partition}"] = "b"
        await cluster.until(lambda: images(cluster) == wanted and settled(cluster, 3))
    await cluster.until(lambda: current(cluster).status.current_revision == before.update_revision)


async def test_a_broken_pod_holds_a_rollout_up_and_a_rollback_is_the_revision_before(
    cluster: Simulation,
) -> None:
    await cluster.api.create(database(3))
    await cluster.until(lambda: settled(cluster, 3))
    revisions = [current(cluster).status.current_revision]

    for image in ("b", "a"):
        before = images(cluster)
        await break_(cluster, "db-1")
        await cluster.until(lambda: ready(cluster) == 2)
        mark = len(cluster.api.log)
        await change(cluster, template=database(3, image).spec.template)
        await cluster.until(lambda: observed(cluster))
        await cluster.rest()
        status = current(cluster).status
        assert status.current_revision == revisions[-1] != status.update_revision
        assert images(cluster) == before
        revisions.append(status.update_revision)

        await break_(cluster, "db-1", mend=True)
        await cluster.until(lambda image=image: set(images(cluster).values()) == {image})  # type: ignore[misc]
        await cluster.until(lambda: settled(cluster, 3))
        await cluster.until(lambda: current(cluster).status.current_revision == revisions[-1])
        assert [body["metadata"]["name"] for _, kind, where, body in cluster.api.log[mark:]
                if kind == "DELETED" and where.endswith("/pods")] == ["db-2", "db-1", "db-0"]  # fmt: skip
    assert revisions[2] == revisions[0]


async def test_deleting_one_takes_all_along(cluster: Simulation) -> None:
    await cluster.api.create(database(2))
    await cluster.until(lambda: settled(cluster, 2))

    await cluster.api.delete(current(cluster))

    await cluster.until(lambda: not [*cluster.api.all(Pod), *cluster.api.all(PersistentVolumeClaim)])
    await cluster.rest()
