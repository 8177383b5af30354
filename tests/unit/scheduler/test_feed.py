"""What is known of a pod that was decided on, and then comes back from the API server on its node."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import cast

import pytest

from kybern.api.core_v1 import Pod
from kybern.client.events import Recorder
from kybern.client.verbs import Verbs
from kybern.machinery.selectors import of_labels
from kybern.machinery.struct import replace
from kybern.scheduler.bind import Binder
from kybern.scheduler.facts import PodFacts
from kybern.scheduler.feed import Feed
from kybern.scheduler.groups import Group
from kybern.scheduler.handle import Handle
from kybern.scheduler.parked import Parked
from kybern.scheduler.profile import DEFAULT_NAME
from kybern.scheduler.promises import Promises
from kybern.scheduler.queue import Queue
from kybern.scheduler.run import Scheduler
from kybern.scheduler.table import Table
from tests.unit.scheduler.making import DEFAULT, node, pod, table_of

WEB = Group(frozenset(("default",)), of_labels({"app": "web"}))
PROFILES = {DEFAULT_NAME: DEFAULT}


def feed(table: Table) -> Feed:
    client = cast("Verbs", None)  # nothing is asked here
    return Feed(client, Queue(PROFILES), PROFILES, table, Promises(), Parked())


def bound(one: Pod, to: str, **labels: str) -> Pod:
    meta = replace(one.metadata, labels=labels or one.metadata.labels, resource_version="2")
    return replace(one, metadata=meta, spec=replace(one.spec, node_name=to))


async def test_a_pod_that_is_bound_as_decided_is_counted_as_before_and_known_as_it_is_now() -> None:
    table = table_of(node("w1"))
    wanted, before = feed(table), pod("p", cpu="1")
    wanted.see(before)
    facts = PodFacts.of(before)
    table.place(facts.uid, "w1", facts)

    wanted.see(bound(before, "w1"), before)

    assert [(where, one.metadata.resource_version) for where, one in table.placed()] == [("w1", "2")]
    assert table.room.requested[0, table.index["w1"]] == 1000
    assert facts.uid not in wanted.queue


@pytest.mark.parametrize(
    "now",
    [
        pytest.param(bound(pod("p", cpu="1"), "w2"), id="another scheduler was faster"),
        pytest.param(bound(pod("p", cpu="1"), "w1", app="web"), id="it got labels with its node"),
        pytest.param(bound(pod("p", cpu="2"), "w1"), id="it was resized meanwhile"),
    ],
)
async def test_a_pod_that_is_bound_otherwise_than_decided_counts_as_it_is(now: Pod) -> None:
    table = table_of(node("w1"), node("w2"))
    wanted, before = feed(table), pod("p", cpu="1")
    wanted.see(before)
    table.place(before.metadata.uid, "w1", PodFacts.of(before))
    assert not table.crowd.count(WEB).any()

    wanted.see(now, before)

    column, facts = table.index[now.spec.node_name], PodFacts.of(now)
    assert table.counted(facts.uid) == facts
    assert table.crowd.count(WEB)[column] == table.crowd.count(WEB).sum() == len(now.metadata.labels)
    assert table.room.requested[0, column] == table.room.requested[0].sum() == facts.asked["cpu"]


class Silent:
    """An API server that answers no list."""

    def __getattr__(self, name: str) -> Callable[..., Coroutine[None, None, None]]:
        async def wait(*_: object, **__: object) -> None:
            await asyncio.Event().wait()

        return wait


async def test_who_leads_is_ready_when_all_is_listed_and_who_does_not_is_ready_at_once() -> None:
    nobody = cast("Verbs", Silent())
    binder = Binder(nobody, Recorder(nobody, "default-scheduler"), asyncio.Semaphore(1))
    scheduler = Scheduler(Handle(binder), PROFILES)
    scheduler.check()

    leading = asyncio.create_task(scheduler.run())
    await asyncio.sleep(0)
    try:
        with pytest.raises(RuntimeError, match="nodes are not listed yet"):
            scheduler.check()
    finally:
        leading.cancel()
        await asyncio.wait([leading])
