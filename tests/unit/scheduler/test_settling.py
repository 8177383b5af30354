"""From a decision to a binding: waiting for a permit, preparing, binding, and what happens when one of them fails."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from kybern.api.core_v1 import Pod
from kybern.machinery.errors import Conflict
from kybern.scheduler.bind import Binder
from kybern.scheduler.extender import Extender
from kybern.scheduler.extender import Settings as ExtenderSettings
from kybern.scheduler.framework import Attempt, Plugin, Relief, Verdict
from kybern.scheduler.handle import Handle
from kybern.scheduler.outcomes import Refused
from kybern.scheduler.profile import Profile
from kybern.scheduler.relief import seek
from kybern.scheduler.settling import Failed, reserve, settle
from tests.unit.scheduler.making import attempt, node, pod, table_of

type Log = list[str]


@dataclass
class Writer:
    """A Binder's writes, as a log."""

    log: Log = field(default_factory=list)

    async def evict(self, victim: Pod, by: Pod) -> bool:
        self.log.append(f"{victim.metadata.name} leaves for {by.metadata.name}")
        return True

    async def expect(self, one: Pod, node: str) -> None:
        self.log.append(f"{one.metadata.name} is expected on {node}")

    async def unpromise(self, one: Pod) -> None:
        self.log.append(f"{one.metadata.name} is promised nothing")


def handle(*extenders: Any, writer: Writer | None = None) -> Handle:
    return Handle(cast("Binder", writer or Writer()), tuple(extenders))


def doing(name: str, log: Log, **said: Any) -> Plugin:
    """A plugin whose hooks write down that they were called."""

    async def pre_bind(_attempt: Attempt, where: str, _handle: Handle) -> str:
        log.append(f"{name} prepares {where}")
        return str(said.get("pre_bind", ""))

    async def bind(_attempt: Attempt, where: str, _handle: Handle) -> str | None:
        log.append(f"{name} binds to {where}")
        if isinstance(said.get("bind"), Exception):
            raise said["bind"]
        return cast("str | None", said.get("bind"))

    return Plugin(
        name,
        unreserve=lambda _attempt, where: log.append(f"{name} gives back {where}"),
        permit=lambda _attempt, _node: said.get("permit"),
        prepares=lambda _attempt, _node: "prepares" in said,
        pre_bind=pre_bind,
        bind=bind,
        post_bind=lambda _attempt, where: log.append(f"{name} saw the binding to {where}"),
    )


def of(*plugins: Plugin) -> Attempt:
    return attempt(pod("p"), table_of(node("n")), Profile.of(plugins))


async def test_the_first_that_binds_is_the_last_that_is_asked() -> None:
    log: Log = []
    one = of(
        doing("A", log, prepares=True), doing("B", log, bind="", prepares=True), doing("C", log, bind="")
    )

    assert await settle(one, "n", handle()) is None
    assert log == [
        "A prepares n", "B prepares n", "A binds to n", "B binds to n",
        "A saw the binding to n", "B saw the binding to n", "C saw the binding to n",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ({"pre_bind": "no volume", "prepares": True}, 'running PreBind plugin "A": no volume'),
        ({"bind": "no route"}, 'running Bind plugin "A": no route'),
        ({"bind": Conflict("it is bound")}, 'running Bind plugin "A": it is bound'),
        ({}, "no bind plugin took the pod"),
    ],
)
async def test_a_failure_gives_everything_back(said: dict[str, Any], reason: str) -> None:
    log: Log = []

    assert await settle(of(doing("A", log, **said)), "n", handle()) == Failed(reason)
    assert log[-1] == "A gives back n"


async def test_an_error_of_the_api_while_preparing_is_a_failure() -> None:
    async def pre_bind(_attempt: Attempt, _node: str, _handle: Handle) -> str:
        raise Conflict("the claim changed")

    found = await settle(of(Plugin("A", pre_bind=pre_bind)), "n", handle())

    assert found == Failed('running PreBind plugin "A": the claim changed')


async def settled(one: Attempt, act: Callable[[], None]) -> Refused | Failed | None:
    """Start to settle, and act when the pod waits."""
    assert reserve(one, "n") is None
    task = asyncio.create_task(settle(one, "n", handle()))
    for _ in range(3):
        await asyncio.sleep(0)
    assert not task.done()
    act()
    return await asyncio.wait_for(task, 30)


async def test_a_parked_pod_goes_when_everybody_allowed_it() -> None:
    log: Log = []
    one = of(doing("A", log, permit=Verdict(wait=60.0)), doing("B", log, permit=Verdict(wait=60.0), bind=""))

    def allow() -> None:
        one.parked.allow("uid-p", "A")
        assert not log
        one.parked.allow("uid-p", "B")

    assert await settled(one, allow) is None
    assert "B binds to n" in log
    assert not list(one.parked)


async def test_one_who_rejects_is_enough() -> None:
    log: Log = []
    one = of(doing("A", log, permit=Verdict(wait=60.0)), doing("B", log, permit=Verdict(wait=60.0)))

    found = await settled(one, lambda: one.parked.reject("uid-p", "A", "the gang is not whole"))

    assert isinstance(found, Refused)
    assert (found.reasons, found.plugins) == (
        "0/1 nodes are available: 1 the gang is not whole.", frozenset({"A"}),
    )  # fmt: skip
    assert log == ["B gives back n", "A gives back n"]
    assert not list(one.parked)


async def test_who_is_allowed_by_nobody_in_time_is_rejected() -> None:
    log: Log = []
    one = of(doing("A", log, permit=Verdict(wait=60.0)), doing("B", log, permit=Verdict(wait=0.01)))

    found = await settled(one, lambda: None)

    assert isinstance(found, Refused)
    assert found.plugins == frozenset({"B"})
    assert found.reasons == (
        "0/1 nodes are available: 1 rejected due to timeout after waiting 0.01s at plugin B."
    )


async def test_a_decision_that_comes_before_the_waiting_counts() -> None:
    one = of(doing("A", [], permit=Verdict(wait=60.0), bind=""))
    assert reserve(one, "n") is None
    one.parked.allow("uid-p", "A")

    assert await asyncio.wait_for(settle(one, "n", handle()), 5) is None


async def test_where_a_pod_goes_is_told_while_its_binding_waits() -> None:
    writer = Writer()

    assert await settle(of(doing("A", [], bind="", prepares=True)), "n", handle(writer=writer)) is None
    assert writer.log == ["p is expected on n"]

    assert await settle(of(doing("A", [], bind="full", prepares=True)), "n", handle(writer=writer)) == Failed(
        'running Bind plugin "A": full'
    )
    assert writer.log[1:] == ["p is expected on n", "p is promised nothing"]


async def test_where_nothing_has_to_be_prepared_the_pod_is_bound_at_once() -> None:
    log: Log = []
    writer = Writer()

    assert await settle(of(doing("A", log, bind="")), "n", handle(writer=writer)) is None
    assert writer.log == []
    assert log == ["A binds to n", "A saw the binding to n"]


class Binding(Extender):
    """An extender that binds, without a network."""

    def __init__(self, why: str, *, ignorable: bool = False, resources: frozenset[str] = frozenset()) -> None:
        super().__init__(
            ExtenderSettings("http://x", bind_verb="bind", ignorable=ignorable, resources=resources)
        )
        self._why = why

    async def bind(self, pod: Pod, node: str) -> str:
        return self._why if node else pod.metadata.name


@pytest.mark.parametrize(
    ("extender", "expected", "asked"),
    [
        (Binding(""), None, False),
        (Binding("full"), Failed("full"), False),
        (Binding("full", ignorable=True), None, True),
        (Binding("full", resources=frozenset({"example.com/gpu"})), None, True),
    ],
    ids=["binds", "fails", "may fail", "is not interested"],
)
async def test_an_extender_that_binds_is_asked_before_plugins(
    extender: Extender, expected: Failed | None, *, asked: bool
) -> None:
    log: Log = []

    assert await settle(of(doing("A", log, bind="")), "n", handle(extender)) == expected
    assert ("A binds to n" in log) == asked


def relieving(name: str, relief: Relief) -> Plugin:
    async def post_filter(_attempt: Attempt, _refused: Refused, _handle: Handle) -> Relief:
        return relief

    return Plugin(name, post_filter=post_filter)


REFUSED = Refused(1, "0/1 nodes are available: 1 too bad.", frozenset({"X"}))


async def sought(*plugins: Plugin, promised: str = "") -> tuple[tuple[str, str], Attempt, Log]:
    writer = Writer()
    one = of(*plugins)
    if promised:
        one.promises.make(promised, one.facts)
    async with asyncio.TaskGroup() as tasks:
        found = await seek(one, REFUSED, handle(writer=writer), tasks)
    return found, one, writer.log


async def test_the_first_relief_with_a_node_is_taken() -> None:
    victim = pod("v")
    found, one, log = await sought(
        relieving("A", Relief("nothing here")),
        relieving("B", Relief(node="n", leaving=(victim,))),
        relieving("C", Relief(node="m")),
    )

    assert found == ("0/1 nodes are available: 1 too bad.", "n")
    assert one.promises.of("uid-p") == "n"
    assert one.promises.leaving == {"uid-v"}
    assert log == ["v leaves for p"]


async def test_without_relief_all_that_was_said_is_said() -> None:
    found, one, log = await sought(
        relieving("A", Relief("one thing", node="")), relieving("B", Relief("another")), promised="n"
    )

    assert found == ("0/1 nodes are available: 1 too bad. one thing, another", "")
    assert (one.promises.of("uid-p"), log) == ("", [])


async def test_who_has_to_wait_keeps_its_promise() -> None:
    found, one, _ = await sought(relieving("A", Relief("wait")), promised="n")

    assert found == ("0/1 nodes are available: 1 too bad. wait", "n")
    assert one.promises.of("uid-p") == "n"


async def test_a_victim_that_is_not_bound_yet_is_rejected_instead_of_deleted() -> None:
    writer = Writer()
    one = of(relieving("A", Relief(node="n", leaving=(pod("v"),))))
    waiter = one.parked.park(attempt(pod("v"), table_of(node("n"))).facts, "n", {"Slow": 60.0})

    async with asyncio.TaskGroup() as tasks:
        await seek(one, REFUSED, handle(writer=writer), tasks)

    assert waiter.rejected == ("", "preempted")
    assert one.promises.leaving == set()
    assert writer.log == []
