"""Daemon sets in a whole control plane: a pod to each node, rollouts, rollbacks, failed pods."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from kybern.api.apps_v1 import (
    ControllerRevision,
    DaemonSet,
    DaemonSetSpec,
    DaemonSetUpdateStrategy,
    RollingUpdateDaemonSet,
)  # fmt: skip
from kybern.api.core_v1 import Namespace, Node, Pod
from kybern.api.meta_v1 import LabelSelector, ObjectMeta
from kybern.controllers.daemonset.pods import node_of
from kybern.loop.revisions import LABEL
from kybern.loop.settings import Settings
from kybern.machinery.struct import replace
from tests.simulation.cluster import Simulation, running
from tests.simulation.test_workloads import web

LABELS = {"app": "daemon"}


def daemon(image: str = "a") -> DaemonSet:
    template = web(1, image).spec.template
    template = replace(template, metadata=replace(template.metadata, labels=LABELS))
    rolling = RollingUpdateDaemonSet(max_surge=0, max_unavailable=1)
    return DaemonSet(
        metadata=ObjectMeta(name="daemon", namespace="a"),
        spec=DaemonSetSpec(
            selector=LabelSelector(match_labels=LABELS),
            template=template,
            revision_history_limit=10,
            update_strategy=DaemonSetUpdateStrategy(type="RollingUpdate", rolling_update=rolling),
        ),
    )


@pytest.fixture
async def cluster() -> AsyncIterator[Simulation]:
    names = ("daemonset-controller", "garbage-collector-controller")
    async with running(names, settings=Settings(root_ca="CA")) as simulation:
        kubelets = asyncio.create_task(simulation.kubelets())
        await simulation.api.create(Namespace(metadata=ObjectMeta(name="a")))
        for name in ("n1", "n2", "n3"):
            await simulation.api.create(Node(metadata=ObjectMeta(name=name)))
        yield simulation
        kubelets.cancel()


def current(cluster: Simulation) -> DaemonSet:
    found = cluster.api.one(DaemonSet, "a", "daemon")
    assert found is not None
    return found


def rolled_out(cluster: Simulation, count: int = 3, image: str = "a") -> bool:
    status = current(cluster).status
    images = {pod.spec.containers[0].image for pod in cluster.api.all(Pod)}
    return status.updated_number_scheduled == status.number_available == count and images == {image}


async def test_nodes_that_come_and_go_have_one_pod_each(cluster: Simulation) -> None:
    await cluster.api.create(daemon())
    await cluster.until(lambda: rolled_out(cluster))

    await cluster.api.create(Node(metadata=ObjectMeta(name="n4")))
    await cluster.until(lambda: rolled_out(cluster, 4))
    await cluster.rest()

    assert sorted(map(node_of, cluster.api.all(Pod))) == ["n1", "n2", "n3", "n4"]
    made = [path for method, path in cluster.api.requests if method == "POST" and path.endswith("/pods")]
    assert len(made) == 4


async def test_a_rollout_and_the_way_back(cluster: Simulation) -> None:
    await cluster.api.create(daemon())
    await cluster.until(lambda: rolled_out(cluster))

    for image in ("b", "a"):
        old = current(cluster)
        template = daemon(image).spec.template
        await cluster.api.patch(old, replace(old, spec=replace(old.spec, template=template)))
        await cluster.until(lambda image=image: rolled_out(cluster, image=image))  # type: ignore[misc]
        revision = max(cluster.api.all(ControllerRevision), key=lambda one: one.revision or 0)
        marks = {pod.metadata.labels[LABEL] for pod in cluster.api.all(Pod)}
        assert marks == {revision.metadata.labels[LABEL]}
    await cluster.rest()

    assert sorted(one.revision or 0 for one in cluster.api.all(ControllerRevision)) == [2, 3]


async def test_a_failed_pod_is_replaced(cluster: Simulation) -> None:
    await cluster.api.create(daemon())
    await cluster.until(lambda: rolled_out(cluster))
    broken = cluster.api.all(Pod)[0]

    await cluster.api.set_status(broken, phase="Failed", conditions=[])

    await cluster.until(lambda: broken.metadata.uid not in {one.metadata.uid for one in cluster.api.all(Pod)})
    await cluster.until(lambda: rolled_out(cluster))


async def test_a_pod_that_is_stopped_is_revived(cluster: Simulation) -> None:
    await cluster.api.create(daemon())
    await cluster.until(lambda: rolled_out(cluster))
    stopped = cluster.api.all(Pod)[0]

    await cluster.api.delete(stopped)

    await cluster.until(
        lambda: stopped.metadata.uid not in {one.metadata.uid for one in cluster.api.all(Pod)}
    )
    await cluster.until(lambda: rolled_out(cluster))
    status = current(cluster).status
    assert status.desired_number_scheduled == status.current_number_scheduled == status.number_ready == 3


async def test_pods_follow_a_label_of_their_node(cluster: Simulation) -> None:
    def painted(colour: str) -> DaemonSet:
        wanted = daemon()
        spec = replace(wanted.spec.template.spec, node_selector={"colour": colour})
        return replace(wanted, spec=replace(wanted.spec, template=replace(wanted.spec.template, spec=spec)))

    async def paint(colour: str) -> None:
        node = cluster.api.one(Node, "", "n2")
        assert node is not None
        await cluster.api.patch(
            node, replace(node, metadata=replace(node.metadata, labels={"colour": colour}))
        )

    await cluster.api.create(painted("blue"))
    await cluster.until(lambda: current(cluster).status.observed_generation == 1)
    await cluster.rest()
    assert cluster.api.all(Pod) == []

    await paint("blue")
    await cluster.until(lambda: rolled_out(cluster, 1))
    assert [node_of(pod) for pod in cluster.api.all(Pod)] == ["n2"]
    await paint("green")
    await cluster.until(lambda: not cluster.api.all(Pod))
    old = current(cluster)
    await cluster.api.patch(
        old, replace(old, spec=replace(old.spec, template=painted("green").spec.template))
    )
    await cluster.until(lambda: rolled_out(cluster, 1))
    await cluster.rest()


async def test_a_rollback_in_the_middle_restarts_nothing_that_is_old(cluster: Simulation) -> None:
    await cluster.api.create(daemon())
    await cluster.until(lambda: rolled_out(cluster))
    first = {pod.metadata.uid for pod in cluster.api.all(Pod)}

    template = daemon("none").spec.template
    broken = replace(template, metadata=replace(template.metadata, labels={**LABELS, "broken": "yes"}))
    old = current(cluster)
    await cluster.api.patch(old, replace(old, spec=replace(old.spec, template=broken)))
    await cluster.until(lambda: "none" in {pod.spec.containers[0].image for pod in cluster.api.all(Pod)})
    await cluster.rest()
    kept = {pod.metadata.uid for pod in cluster.api.all(Pod)} & first
    assert len(kept) == 2

    old = current(cluster)
    await cluster.api.patch(old, replace(old, spec=replace(old.spec, template=daemon().spec.template)))
    await cluster.until(lambda: rolled_out(cluster))
    await cluster.rest()
    assert kept <= {pod.metadata.uid for pod in cluster.api.all(Pod)}


async def test_deleting_one_takes_pods_and_revisions_along(cluster: Simulation) -> None:
    await cluster.api.create(daemon())
    await cluster.until(lambda: rolled_out(cluster))

    await cluster.api.delete(current(cluster))

    await cluster.until(lambda: not [*cluster.api.all(Pod), *cluster.api.all(ControllerRevision)])
    await cluster.rest()
