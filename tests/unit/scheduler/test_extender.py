"""Extenders over a real connection: what goes out, what comes back, and what happens when nothing does."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import msgspec
import numpy as np
import pytest
from aiohttp import web

from kybern.scheduler.asking import find
from kybern.scheduler.extender import Extender, ExtenderFailed, Settings
from kybern.scheduler.outcomes import Placed, Refused
from kybern.scheduler.preemption import Victims
from tests.unit.scheduler.making import attempt, node, pod, table_of

FULL = Settings("", "filter", "prioritize", "preempt", "bind", weight=2)
ANSWERED: Mapping[str, Any] = {
    "filter": {"NodeNames": ["a", "b"], "FailedNodes": {"c": "too small"}},
    "prioritize": [{"Host": "b", "Score": 10}, {"Host": "a", "Score": 3}],
}
type Serve = Callable[[web.Request], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def serving(
    answers: Mapping[str, Any], settings: Settings = FULL, status: int = 200
) -> AsyncIterator[tuple[Extender, list[tuple[str, Any]]]]:
    """An extender that answers so, and what it was asked."""
    asked: list[tuple[str, Any]] = []

    async def answer(request: web.Request) -> web.StreamResponse:
        verb = request.match_info["verb"]
        asked.append((verb, msgspec.json.decode(await request.read())))
        return web.json_response(answers[verb], status=status)

    app = web.Application()
    app.router.add_post("/sched/{verb}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    try:
        async with Extender(replace(settings, url=f"http://127.0.0.1:{port}/sched/")) as extender:
            yield extender, asked
    finally:
        await runner.cleanup()


TABLE_NODES = (node("a"), node("b"), node("c"))


async def go(extender: Extender, **more: Any) -> Placed | Refused:
    one = attempt(pod("p", **more), table_of(*TABLE_NODES))
    return await find(one, (extender,), np.random.default_rng(1))


async def test_an_extender_filters_and_rates_by_name() -> None:
    async with serving(ANSWERED, replace(FULL, knows_nodes=True)) as (extender, asked):
        assert await go(extender) == Placed("b")

    assert [verb for verb, _ in asked] == ["filter", "prioritize"]
    assert asked[0][1]["Pod"]["metadata"]["name"] == "p"
    assert (asked[0][1]["NodeNames"], asked[1][1]["NodeNames"]) == (["a", "b", "c"], ["a", "b"])


async def test_one_that_does_not_know_nodes_gets_them_whole() -> None:
    answers = {"filter": {"nodes": {"items": [{"metadata": {"name": "c"}}]}}}
    async with serving(answers) as (extender, asked):
        assert await go(extender) == Placed("c")

    assert [one["metadata"]["name"] for one in asked[0][1]["Nodes"]["items"]] == ["a", "b", "c"]
    assert "NodeNames" not in asked[0][1]


async def test_its_reasons_are_counted_with_those_of_plugins() -> None:
    answers = {
        "filter": {
            "NodeNames": [],
            "FailedNodes": {"a": "too slow", "b": "too slow"},
            "FailedAndUnresolvableNodes": {"b": "too old"},
        }
    }
    table = table_of(*TABLE_NODES, node("d", cordoned=True))
    async with serving(answers, replace(FULL, knows_nodes=True)) as (extender, _):
        found = await find(attempt(pod("p"), table), (extender,), np.random.default_rng(1))

    assert isinstance(found, Refused)
    assert found.reasons == ("0/4 nodes are available: 1 node(s) were unschedulable, 1 too old, 1 too slow.")
    assert found.helpful == ("a",)
    assert "Extender" in found.plugins


async def test_a_single_node_is_not_rated() -> None:
    async with serving({"filter": {"NodeNames": ["c"]}}, replace(FULL, knows_nodes=True)) as (
        extender,
        asked,
    ):
        assert await go(extender) == Placed("c")
    assert [verb for verb, _ in asked] == ["filter"]


async def test_it_is_asked_only_about_pods_that_ask_for_what_it_manages() -> None:
    settings = replace(FULL, resources=frozenset({"example.com/gpu"}))
    async with serving({}, settings) as (extender, asked):
        assert isinstance(await go(extender), Placed)
        assert asked == []
        assert extender.is_interested(pod("p", extra={"example.com/gpu": "1"}))


@pytest.mark.parametrize(
    ("answers", "status", "told"),
    [
        ({"filter": {"Error": "no licence"}}, 200, "no licence"),
        ({"filter": {}}, 500, "failed filter with extender at URL"),
        ({"filter": {"NodeNames": ["z"]}}, 200, 'claims a filtered node "z" which is not found'),
        ({"filter": []}, 200, "it is no object"),
    ],
)
async def test_a_failure_fails_the_attempt_unless_it_may(answers: Any, status: int, told: str) -> None:
    settings = replace(FULL, knows_nodes=True, prioritize_verb="")
    async with serving(answers, settings, status) as (extender, _):
        with pytest.raises(ExtenderFailed, match=told):
            await go(extender)
    async with serving(answers, replace(settings, ignorable=True), status) as (extender, _):
        assert isinstance(await go(extender), Placed)


async def test_one_that_cannot_be_reached_fails() -> None:
    async with Extender(replace(FULL, url="http://127.0.0.1:1")) as extender:
        with pytest.raises(ExtenderFailed, match=r"cannot ask http://127\.0\.0\.1:1/filter"):
            await go(extender)


async def test_scores_that_do_not_come_count_nothing() -> None:
    async with serving({"prioritize": {}}, replace(FULL, filter_verb=""), 503) as (extender, _):
        assert isinstance(await go(extender), Placed)


VICTIMS = [Victims("a", (pod("x"), pod("y")), 1), Victims("b", (pod("z"),), 0)]


@pytest.mark.parametrize("knows", [True, False])
async def test_it_may_take_victims_and_nodes_off_the_list(*, knows: bool) -> None:
    answers = {
        "preempt": {"NodeNameToMetaVictims": {"a": {"Pods": [{"UID": "uid-y"}], "NumPDBViolations": 1}}}
    }
    async with serving(answers, replace(FULL, knows_nodes=knows)) as (extender, asked):
        (found,) = await extender.preempt(pod("p"), VICTIMS)

    assert (found.node, [one.metadata.name for one in found.pods], found.violations) == ("a", ["y"], 1)
    key = "NodeNameToMetaVictims" if knows else "NodeNameToVictims"
    sent = asked[0][1][key]["b"]["Pods"][0]
    assert (sent["UID"] if knows else sent["metadata"]["uid"]) == "uid-z"


async def test_it_may_not_name_victims_that_are_not_there() -> None:
    answers = {"preempt": {"NodeNameToMetaVictims": {"b": {"Pods": [{"UID": "uid-x"}]}}}}
    async with serving(answers) as (extender, _):
        with pytest.raises(ExtenderFailed, match="but the pod is not found on that node"):
            await extender.preempt(pod("p"), VICTIMS)
    async with serving(answers, replace(FULL, ignorable=True)) as (extender, _):
        assert await extender.preempt(pod("p"), VICTIMS) == VICTIMS


async def test_it_binds() -> None:
    async with serving({"bind": {}}) as (extender, asked):
        assert await extender.bind(pod("p"), "a") == ""
    assert asked == [
        ("bind", {"PodName": "p", "PodNamespace": "default", "PodUID": "uid-p", "Node": "a"}),
    ]
    async with serving({"bind": {"Error": "full"}}) as (extender, _):
        assert await extender.bind(pod("p"), "a") == "full"
