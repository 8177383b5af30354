"""Rollouts of deployments in a whole control plane, as upstream's conformance tests have them."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from kybern.api.apps_v1 import (
    Deployment,
    DeploymentStrategy,
    ReplicaSet,
    ReplicaSetSpec,
    RollingUpdateDeployment,
)
from kybern.api.core_v1 import Namespace, Pod
from kybern.api.meta_v1 import LabelSelector, ObjectMeta
from kybern.loop.settings import Settings
from kybern.machinery.struct import replace
from tests.simulation.cluster import Simulation, running
from tests.simulation.test_workloads import LABELS, web

REVISION = "deployment.kubernetes.io/revision"


@pytest.fixture
async def cluster() -> AsyncIterator[Simulation]:
    names = ("deployment-controller", "replicaset-controller", "garbage-collector-controller")
    async with running(names, settings=Settings(root_ca="CA")) as simulation:
        kubelets = asyncio.create_task(simulation.kubelets())
        await simulation.api.create(Namespace(metadata=ObjectMeta(name="a")))
        yield simulation
        kubelets.cancel()


def limited(surge: int, unavailable: int) -> DeploymentStrategy:
    rolling = RollingUpdateDeployment(max_surge=surge, max_unavailable=unavailable)
    return DeploymentStrategy(type="RollingUpdate", rolling_update=rolling)


def current(cluster: Simulation) -> Deployment:
    found = cluster.api.one(Deployment, "a", "web")
    assert found is not None
    return found


async def change(cluster: Simulation, **spec: Any) -> None:
    old = current(cluster)
    await cluster.api.patch(old, replace(old, spec=replace(old.spec, **spec)))


def sets(cluster: Simulation) -> dict[str, ReplicaSet]:
    """By the image of their template."""
    return {one.spec.template.spec.containers[0].image: one for one in cluster.api.all(ReplicaSet)}


def sizes(cluster: Simulation) -> dict[str, int]:
    return {image: one.spec.replicas or 0 for image, one in sets(cluster).items()}


def revisions(cluster: Simulation) -> dict[str, str]:
    return {image: one.metadata.annotations.get(REVISION, "") for image, one in sets(cluster).items()}


def complete(cluster: Simulation, image: str, count: int) -> bool:
    status = current(cluster).status
    pods = {pod.spec.containers[0].image for pod in cluster.api.all(Pod)}
    return (
        pods == {image} and status.updated_replicas == status.available_replicas == status.replicas == count
    )


async def older(cluster: Simulation, name: str, image: str, count: int, revision: str = "") -> ReplicaSet:
    """A replica set that was there before the deployment."""
    marks = {**LABELS, "pod": name}
    template = web(1, image, pod=name).spec.template
    annotations = {REVISION: revision} if revision else {}
    await cluster.api.create(
        ReplicaSet(
            metadata=ObjectMeta(name=name, namespace="a", labels=marks, annotations=annotations),
            spec=ReplicaSetSpec(
                replicas=count, selector=LabelSelector(match_labels=marks), template=template
            ),
        )
    )

    def up() -> bool:
        found = cluster.api.one(ReplicaSet, "a", name)
        return found is not None and found.status.available_replicas == count

    await cluster.until(up)
    found = cluster.api.one(ReplicaSet, "a", name)
    assert found is not None
    return found


async def test_a_rollout_goes_on_from_the_revision_of_what_was_there(cluster: Simulation) -> None:
    await older(cluster, "old", "old", 1, revision="3546343826724305832")

    await cluster.api.create(web(1, "new"))
    await cluster.until(lambda: complete(cluster, "new", 1))
    await cluster.rest()

    assert current(cluster).metadata.annotations[REVISION] == "3546343826724305833"
    assert sizes(cluster) == {"old": 0, "new": 1}
    uid = current(cluster).metadata.uid
    assert {one.metadata.owner_references[0].uid for one in cluster.api.all(ReplicaSet)} == {uid}


async def test_recreate_never_runs_both_revisions_at_once(cluster: Simulation) -> None:
    await cluster.api.create(web(2, "old"))
    await change(cluster, strategy=DeploymentStrategy(type="Recreate"))
    await cluster.until(lambda: complete(cluster, "old", 2))
    assert current(cluster).metadata.annotations[REVISION] == "1"

    mark = len(cluster.api.log)
    await change(cluster, template=web(2, "new").spec.template)
    await cluster.until(lambda: complete(cluster, "new", 2))
    await cluster.until(lambda: current(cluster).metadata.annotations[REVISION] == "2")

    alive = {"old": 2, "new": 0}
    for _, kind, where, body in cluster.api.log[mark:]:
        if where.endswith("/pods") and kind in {"ADDED", "DELETED"}:
            alive[body["spec"]["containers"][0]["image"]] += 1 if kind == "ADDED" else -1
            assert not (alive["old"] and alive["new"])


async def test_old_replica_sets_go_when_none_is_to_be_kept(cluster: Simulation) -> None:
    await older(cluster, "old", "old", 1)
    await cluster.api.create(web(1, "new"))
    await change(cluster, revision_history_limit=0)

    await cluster.until(lambda: complete(cluster, "new", 1) and list(sets(cluster)) == ["new"])
    await cluster.rest()


async def test_a_rollout_is_taken_over_by_the_next_one(cluster: Simulation) -> None:
    await older(cluster, "old", "old", 1)
    await cluster.api.create(web(1, "broken", broken="yes"))
    await change(cluster, strategy=limited(1, 0))
    await cluster.until(lambda: sizes(cluster) == {"old": 1, "broken": 1})
    await cluster.rest()
    assert revisions(cluster) == {"old": "", "broken": "1"}

    await change(cluster, template=web(1, "good").spec.template)
    await cluster.until(lambda: complete(cluster, "good", 1))
    await cluster.until(lambda: sizes(cluster) == {"old": 0, "broken": 0, "good": 1})

    assert revisions(cluster) == {"old": "", "broken": "1", "good": "2"}
    await cluster.until(
        lambda: current(cluster).status.observed_generation == current(cluster).metadata.generation
    )
    assert current(cluster).status.unavailable_replicas is None


async def test_a_change_of_size_is_shared_by_both_revisions(cluster: Simulation) -> None:
    await cluster.api.create(web(10, "first"))
    await change(cluster, strategy=limited(3, 2))
    await cluster.until(lambda: complete(cluster, "first", 10))

    await change(cluster, template=web(10, "404", broken="yes").spec.template)
    await cluster.until(lambda: sizes(cluster) == {"first": 8, "404": 5})
    await cluster.until(lambda: current(cluster).status.available_replicas == 8)
    await cluster.rest()

    await change(cluster, replicas=30)
    await cluster.until(lambda: sizes(cluster) == {"first": 20, "404": 13})
    await cluster.rest()
    assert sizes(cluster) == {"first": 20, "404": 13}
