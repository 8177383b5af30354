"""Jobs in a whole control plane: every pod is counted once, whatever happens in between."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from kybern.api.batch_v1 import Job, JobSpec
from kybern.api.core_v1 import Namespace, Pod
from kybern.api.meta_v1 import LabelSelector, ObjectMeta
from kybern.controllers.job.indexes import index_of
from kybern.loop.settings import Settings
from kybern.machinery.errors import Conflict
from kybern.machinery.struct import replace
from tests.simulation.cluster import Simulation, running
from tests.simulation.test_workloads import web

LABELS = {"batch.kubernetes.io/job-name": "work"}


def work(**spec: Any) -> Job:
    template = web(1).spec.template
    wanted: dict[str, Any] = {
        "parallelism": 3,
        "completions": 6,
        "backoff_limit": 6,
        "completion_mode": "NonIndexed",
        "selector": LabelSelector(match_labels=LABELS),
        "template": replace(template, metadata=replace(template.metadata, labels=LABELS)),
    }
    return Job(metadata=ObjectMeta(name="work", namespace="a"), spec=JobSpec(**{**wanted, **spec}))


@pytest.fixture
async def cluster() -> AsyncIterator[Simulation]:
    names = ("job-controller", "garbage-collector-controller")
    async with running(names, settings=Settings(root_ca="CA")) as simulation:
        await simulation.api.create(Namespace(metadata=ObjectMeta(name="a")))
        yield simulation


async def finish(cluster: Simulation, phase: Callable[[Pod], str]) -> None:
    """Kubelets: every pod runs to its end at once."""
    while True:
        for pod in cluster.api.all(Pod):
            if pod.metadata.deletion_timestamp is None and not pod.status.phase:
                await cluster.api.set_status(pod, phase=phase(pod))
        await asyncio.sleep(0.002)


def current(cluster: Simulation) -> Job:
    found = cluster.api.one(Job, "a", "work")
    assert found is not None
    return found


def ended(cluster: Simulation) -> str:
    kinds = {one.type for one in current(cluster).status.conditions}
    return next(iter(kinds & {"Complete", "Failed"}), "")


@pytest.mark.parametrize("mode", ["NonIndexed", "Indexed"])
async def test_every_pod_is_counted_once_though_writes_fail(cluster: Simulation, mode: str) -> None:
    count = 0

    def sometimes(method: str, path: str) -> None:
        nonlocal count
        # What the kubelets write is not the controller's to mend.
        if method == "GET" or "/events" in path or ("/pods/" in path and path.endswith("/status")):
            return
        count += 1
        if count % 7 == 3:
            raise Conflict("injected")

    kubelets = asyncio.create_task(finish(cluster, lambda _pod: "Succeeded"))
    await cluster.api.create(work(completion_mode=mode))
    cluster.api.refuse = sometimes
    await cluster.until(lambda: ended(cluster) == "Complete", seconds=20)
    kubelets.cancel()

    status = current(cluster).status
    assert (status.succeeded, status.failed, status.active) == (6, None, None)
    assert len(cluster.api.all(Pod)) == 6
    assert [pod.metadata.finalizers for pod in cluster.api.all(Pod)] == [()] * 6
    assert status.completed_indexes == ("0-5" if mode == "Indexed" else "")


async def test_all_indexes_run_though_some_fail(cluster: Simulation) -> None:
    kubelets = asyncio.create_task(
        finish(cluster, lambda pod: "Failed" if (index_of(pod) or 0) % 2 else "Succeeded")
    )
    await cluster.api.create(work(completion_mode="Indexed", backoff_limit_per_index=0, backoff_limit=1000))
    await cluster.until(lambda: ended(cluster) == "Failed")
    await cluster.rest()
    kubelets.cancel()

    status = current(cluster).status
    assert (status.completed_indexes, status.failed_indexes) == ("0,2,4", "1,3,5")
    assert (status.succeeded, status.failed) == (3, 3)
    assert status.conditions[-1].reason == "FailedIndexes"


async def test_deleting_a_job_frees_and_takes_its_pods(cluster: Simulation) -> None:
    await cluster.api.create(work())
    await cluster.until(lambda: len(cluster.api.all(Pod)) == 3)

    await cluster.api.delete(current(cluster))

    await cluster.until(lambda: not [*cluster.api.all(Job), *cluster.api.all(Pod)])
    await cluster.rest()


async def test_a_pod_that_loses_its_owner_is_adopted_again(cluster: Simulation) -> None:
    await cluster.api.create(work(parallelism=1))
    await cluster.until(lambda: cluster.api.all(Pod))
    await cluster.rest()
    pod = cluster.api.all(Pod)[0]

    await cluster.api.patch(pod, replace(pod, metadata=replace(pod.metadata, owner_references=())))
    await cluster.until(
        lambda: (
            [p.metadata.uid for p in cluster.api.all(Pod) if p.metadata.owner_references]
            == [pod.metadata.uid]
        )
    )
    await cluster.rest()

    found = cluster.api.all(Pod)[0]
    await cluster.api.patch(found, replace(found, metadata=replace(found.metadata, labels={})))
    await cluster.until(
        lambda: [
            p for p in cluster.api.all(Pod) if not p.metadata.owner_references and not p.metadata.finalizers
        ]
    )
    await cluster.rest()
