"""Doing what a diff asked for."""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import REGISTRY

from kybern import controllers
from kybern.api.core_v1 import ConfigMap, Pod
from kybern.api.meta_v1 import ObjectMeta
from kybern.client.cache import Cache
from kybern.client.events import Recorder
from kybern.loop import metrics
from kybern.loop.act import Actor, batches
from kybern.loop.controller import Again, Call, Create, Delete, Emit, Measure, Patch, PatchStatus, Rewrite
from kybern.machinery.errors import Forbidden
from kybern.machinery.struct import replace
from tests.simulation.api import FakeApi


def named(name: str, kind: Any = Pod, **metadata: Any) -> Any:
    return kind(metadata=ObjectMeta(name=name, namespace="a", **metadata))


def actor(api: FakeApi) -> Actor:
    return Actor(api, Cache(), Recorder(api, "test"))


def sizes(actions: Iterable[Any]) -> list[int]:
    return [len(batch) for batch in batches(actions)]


def test_creates_start_slowly_and_deletes_do_not() -> None:
    assert sizes(Create(named(str(number))) for number in range(20)) == [1, 2, 4, 8, 5]
    assert sizes(Delete(named(str(number))) for number in range(20)) == [16, 4]


def test_order_is_kept_between_different_actions() -> None:
    one, two = named("one"), named("two")
    actions: list[Any] = [Create(one), Create(two), Again(1), Create(one), Delete(two)]

    assert [action for batch in batches(actions) for action in batch] == actions
    assert sizes(actions) == [1, 1, 1, 1, 1]


async def test_the_first_failure_ends_the_round() -> None:
    api = FakeApi(Pod)

    def refuse(method: str, path: str) -> None:
        if method == "POST":
            raise Forbidden("no")

    api.refuse = refuse
    done = await actor(api).act([*(Create(named(str(number))) for number in range(100)), Again(1)])

    assert done.failure is not None
    assert isinstance(done.failure.error, Forbidden)
    assert len(api.requests) == 1
    assert done.again == []


async def test_what_is_there_already_and_what_is_gone_already_is_no_failure() -> None:
    api = FakeApi(Pod)
    made = await api.create(named("one"))

    done = await actor(api).act([Create(named("one")), Delete(made), Delete(made)])

    assert done.failure is None
    assert api.all(Pod) == []


async def test_another_object_of_the_same_name_is_not_deleted() -> None:
    api = FakeApi(Pod)
    old = await api.create(named("one"))
    await api.delete(old)
    new = await api.create(named("one"))

    await actor(api).act([Delete(old)])

    assert [one.metadata.uid for one in api.all(Pod)] == [new.metadata.uid]


@pytest.mark.parametrize("kind", [Pod, ConfigMap])
async def test_changes_name_the_version_that_they_are_of(kind: Any) -> None:
    api = FakeApi(kind)
    old = await api.create(named("one", kind))
    newer = replace(old, metadata=replace(old.metadata, labels={"by": "another"}))
    await api.patch(old, newer)

    done = await actor(api).act(
        [Patch(old, replace(old, metadata=replace(old.metadata, labels={"by": "us"})))]
    )

    assert done.failure is not None
    assert done.failure.error.code == 409
    assert api.all(kind)[0].metadata.labels == {"by": "another"}


async def test_status_is_written_apart() -> None:
    api = FakeApi(Pod)
    old = await api.create(named("one"))

    done = await actor(api).act([PatchStatus(old, replace(old, status=replace(old.status, phase="Failed")))])

    assert done.failure is None
    assert api.requests[-1] == ("PATCH", "/api/v1/namespaces/a/pods/one/status")
    assert api.all(Pod)[0].status.phase == "Failed"


async def test_what_does_not_differ_is_not_sent() -> None:
    api = FakeApi(Pod)
    old = await api.create(named("one"))
    before = len(api.requests)

    await actor(api).act([Patch(old, old), PatchStatus(old, old)])

    assert len(api.requests) == before


async def test_calls_and_wishes() -> None:
    api = FakeApi(Pod)

    done = await actor(api).act(
        [Call("DELETE", "/api/v1/namespaces/a/pods"), Again(5), Emit(named("one"), "Normal", "A", "b")]
    )

    assert (done.failure, done.again) == (None, [5])
    assert api.requests == [("DELETE", "/api/v1/namespaces/a/pods")]


def test_rewrites_run_side_by_side() -> None:
    assert sizes(Rewrite(named(str(number)), "me") for number in range(20)) == [16, 4]


@pytest.mark.parametrize("change", ["none", "written", "replaced", "gone"])
async def test_a_rewrite_has_an_object_stored_anew_unless_somebody_else_did(change: str) -> None:
    api = FakeApi(ConfigMap)
    there = await api.create(named("there", ConfigMap))
    api.age(ConfigMap)
    if change == "written":
        await api.patch(there, replace(there, data={"k": "v"}))
    if change in {"replaced", "gone"}:
        await api.delete(there)
    if change == "replaced":
        await api.create(named("there", ConfigMap))
    before = api.revision

    done = await actor(api).act([Rewrite(there, "me")])

    assert done.failure is None
    assert api.stale == set()
    assert api.revision == before + (change == "none")
    assert api.holds(there) is (change != "gone")


async def test_a_rewrite_that_is_refused_ends_the_round() -> None:
    api = FakeApi(ConfigMap)
    there = await api.create(named("there", ConfigMap))

    def refuse(method: str, path: str) -> None:
        raise Forbidden("no")

    api.refuse = refuse
    done = await actor(api).act([Rewrite(there, "me"), Again(1)])

    assert done.failure is not None
    assert done.failure.action == Rewrite(there, "me")
    assert done.again == []


async def test_what_is_done_is_counted_and_what_fails_is_not() -> None:
    api = FakeApi(Pod)
    evicted = Measure("taint_eviction_controller_pod_deletions_total")
    finished = Measure("job_controller_jobs_finished_total", ("Indexed", "failed", "test"), 2)
    skew = Measure("cronjob_controller_job_creation_skew_duration_seconds", value=3.0)

    def seen(name: str, **labels: str) -> float:
        return REGISTRY.get_sample_value(name, labels) or 0.0

    def refuse(method: str, path: str) -> None:
        if method == "POST":
            raise Forbidden("no")

    before = seen(evicted.metric), seen(f"{skew.metric}_sum")
    api.refuse = refuse
    await actor(api).act([evicted, finished, skew, Create(named("one")), evicted])

    assert seen(evicted.metric) == before[0] + 1
    assert seen(finished.metric, completion_mode="Indexed", result="failed", reason="test") == 2
    assert seen(f"{skew.metric}_sum") == before[1] + 3.0


def test_every_metric_that_controllers_name_is_there() -> None:
    sources = (Path(controllers.__file__).parent).rglob("*.py")
    named_ = {name for one in sources for name in re.findall(r'Measure\(\s*"([a-z_]+)"', one.read_text())}

    assert named_
    assert named_ == {*metrics.COUNTS, *metrics.DURATIONS}
