"""Jobs in a whole control plane: every pod is counted once, whatever happens in between."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from kybern.api.batch_v1 import (
    Job,
    JobSpec,
    PodFailurePolicy,
    PodFailurePolicyOnExitCodesRequirement,
    PodFailurePolicyOnPodConditionsPattern,
    PodFailurePolicyRule,
    SuccessPolicy,
    SuccessPolicyRule,
)
from kybern.api.core_v1 import Namespace, Pod
from kybern.api.meta_v1 import LabelSelector, ObjectMeta
from kybern.controllers.job.indexes import INDEX, index_of
from kybern.controllers.job.plan import plan
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


def odd_fail(pod: Pod) -> str:
    return "Failed" if (index_of(pod) or 0) % 2 else "Succeeded"


async def run_indexed(
    cluster: Simulation, end: str, phase: Callable[[Pod], str] = odd_fail, **spec: Any
) -> Job:
    kubelets = asyncio.create_task(finish(cluster, phase))
    await cluster.api.create(work(completion_mode="Indexed", **spec))
    await cluster.until(lambda: ended(cluster) == end)
    kubelets.cancel()
    found = current(cluster)
    assert (found.status.active, found.status.ready, found.status.terminating) == (None, 0, 0)
    return found


def reason(job: Job, kind: str) -> str:
    return next(one.reason for one in job.status.conditions if one.type == kind)


async def test_an_indexed_job_gives_its_pods_index_and_hostname(cluster: Simulation) -> None:
    job = await run_indexed(cluster, "Complete", lambda _pod: "Succeeded", parallelism=2, completions=4)

    assert reason(job, "Complete") == "CompletionsReached"
    pods = sorted(cluster.api.all(Pod), key=lambda pod: pod.spec.hostname)
    assert [pod.metadata.annotations[INDEX] for pod in pods] == ["0", "1", "2", "3"]
    assert [pod.spec.hostname for pod in pods] == ["work-0", "work-1", "work-2", "work-3"]


async def test_each_index_is_tried_as_often_as_it_may(
    cluster: Simulation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(plan.__globals__, "_FIRST_WAIT", 0.05)
    job = await run_indexed(
        cluster, "Failed", parallelism=2, completions=4, backoff_limit=2**31 - 1, backoff_limit_per_index=1
    )

    assert (job.status.failed_indexes, job.status.completed_indexes) == ("1,3", "0,2")
    assert (job.status.failed, job.status.succeeded) == (4, 2)


async def test_one_failed_index_too_many_ends_a_job(cluster: Simulation) -> None:
    job = await run_indexed(
        cluster,
        "Failed",
        lambda _pod: "Failed",
        parallelism=1,
        completions=4,
        backoff_limit=2**31 - 1,
        backoff_limit_per_index=0,
        max_failed_indexes=0,
    )

    assert reason(job, "Failed") == "MaxFailedIndexesExceeded"
    assert (job.status.failed_indexes, job.status.failed) == ("0", 1)
    assert len(cluster.api.all(Pod)) == 1


async def test_an_exit_code_fails_its_index_at_once(cluster: Simulation) -> None:
    codes = PodFailurePolicyOnExitCodesRequirement(operator="In", values=(1,))
    rule = PodFailurePolicyRule(action="FailIndex", on_exit_codes=codes)

    async def exits() -> None:
        """The state of the container is there with the phase."""
        while True:
            for pod in cluster.api.all(Pod):
                if not pod.status.phase:
                    code = (index_of(pod) or 0) % 2
                    state = {"terminated": {"exitCode": code}}
                    told = [{"name": "c", "image": "a", "imageID": "", "ready": False, "state": state}]
                    await cluster.api.set_status(pod, phase=odd_fail(pod), containerStatuses=told)
            await asyncio.sleep(0.002)

    kubelets = asyncio.create_task(exits())
    await cluster.api.create(
        work(
            completion_mode="Indexed",
            parallelism=2,
            completions=2,
            backoff_limit=2**31 - 1,
            backoff_limit_per_index=1,
            pod_failure_policy=PodFailurePolicy(rules=(rule,)),
        )
    )
    await cluster.until(lambda: ended(cluster) == "Failed")
    kubelets.cancel()

    status = current(cluster).status
    assert (status.failed_indexes, status.completed_indexes) == ("1", "0")
    assert (status.failed, status.succeeded, len(cluster.api.all(Pod))) == (1, 1, 2)


@pytest.mark.parametrize(
    "rule",
    [SuccessPolicyRule(succeeded_count=1), SuccessPolicyRule(succeeded_indexes="0")],
    ids=["count", "indexes"],
)
async def test_a_success_policy_is_met_while_indexes_are_pending(
    cluster: Simulation, monkeypatch: pytest.MonkeyPatch, rule: SuccessPolicyRule
) -> None:
    monkeypatch.setitem(plan.__globals__, "_FIRST_WAIT", 0.05)
    policy = SuccessPolicy(rules=(rule,))
    job = await run_indexed(
        cluster, "Complete", parallelism=2, completions=5, backoff_limit=2**31 - 1, success_policy=policy
    )

    assert reason(job, "SuccessCriteriaMet") == reason(job, "Complete") == "SuccessPolicy"
    assert (job.status.completed_indexes, job.status.succeeded) == ("0", 1)
    assert (job.status.active, job.status.ready, job.status.terminating) == (None, 0, 0)


async def test_a_success_policy_is_met_by_all_indexes(cluster: Simulation) -> None:
    kubelets = asyncio.create_task(finish(cluster, lambda _pod: "Succeeded"))
    policy = SuccessPolicy(rules=(SuccessPolicyRule(succeeded_count=2),))
    await cluster.api.create(
        work(completion_mode="Indexed", parallelism=2, completions=2, success_policy=policy)
    )
    await cluster.until(lambda: ended(cluster) == "Complete")
    kubelets.cancel()

    job = current(cluster)
    assert reason(job, "SuccessCriteriaMet") == reason(job, "Complete") == "SuccessPolicy"
    assert (job.status.completed_indexes, job.status.succeeded, job.status.failed) == ("0,1", 2, None)
    assert (job.status.active, job.status.ready, job.status.terminating) == (None, 0, 0)


async def test_pods_that_were_evicted_are_ignored_and_replaced(cluster: Simulation) -> None:
    pattern = PodFailurePolicyOnPodConditionsPattern(type="DisruptionTarget", status="True")
    rule = PodFailurePolicyRule(action="Ignore", on_pod_conditions=(pattern,))
    await cluster.api.create(
        work(
            completion_mode="Indexed",
            completions=3,
            backoff_limit=0,
            pod_failure_policy=PodFailurePolicy(rules=(rule,)),
        )
    )
    await cluster.until(lambda: len(cluster.api.all(Pod)) == 3)
    first = cluster.api.all(Pod)
    for pod in first:
        ready = [{"type": "Ready", "status": "True"}]
        await cluster.api.set_status(pod, phase="Running", conditions=ready)
    await cluster.until(lambda: current(cluster).status.ready == 3)

    # What an eviction and then the kubelet do; the finalizer holds the pod until it is looked at.
    for pod in first:
        target = [{"type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI"}]
        await cluster.api.set_status(pod, conditions=target)
        await cluster.api.delete(pod)
        await cluster.api.set_status(pod, phase="Failed", conditions=target)
    await cluster.until(
        lambda: not {p.metadata.uid for p in first} & {p.metadata.uid for p in cluster.api.all(Pod)}
    )
    kubelets = asyncio.create_task(finish(cluster, lambda _pod: "Succeeded"))
    await cluster.until(lambda: ended(cluster) == "Complete")
    kubelets.cancel()

    assert (current(cluster).status.succeeded, current(cluster).status.failed) == (3, None)
    assert reason(current(cluster), "Complete") == "CompletionsReached"
