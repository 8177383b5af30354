"""Controllers that fight are seen, and those that only work one after another are not."""

import asyncio
from typing import Any

import pytest

from kybern.api.core_v1 import ConfigMap
from kybern.api.meta_v1 import ObjectMeta
from kybern.loop.controller import Controller, Key, Patch, View
from kybern.machinery.struct import replace
from tests.simulation.api import FakeApi
from tests.simulation.fights import FLIPS, Fights
from tests.simulation.mortal import alive

KEY = ("pods", "a", "p")


def node(name: str) -> dict[str, Any]:
    return {
        "metadata": {"resourceVersion": name},
        "spec": {"nodeName": name, "taints": [{"key": "k", "value": name}]},
    }


def took_turns(times: int, writers: tuple[str, str] = ("one", "two")) -> Fights:
    fights = Fights()
    values = node("x"), node("y")
    for turn in range(times):
        fights.saw(writers[turn % 2], KEY, values[turn % 2], values[1 - turn % 2])
    return fights


def test_two_who_take_turns_are_a_fight_and_the_field_is_named() -> None:
    found = took_turns(FLIPS + 1).found

    assert len(found) == 2
    assert found[0] == "one and two fight over spec.nodeName of pods/a/p: 'x' and 'y' took turns 4 times"
    assert "spec.taints.k.value" in found[1]


@pytest.mark.parametrize("writers", [("one", "one"), ("one", ""), ("", "two")])
def test_one_who_changes_its_mind_and_one_who_answers_to_outside_do_not_fight(
    writers: tuple[str, str],
) -> None:
    assert took_turns(50, writers).found == []


def test_few_turns_are_no_fight() -> None:
    assert took_turns(FLIPS).found == []


def test_a_change_from_outside_begins_anew() -> None:
    fights = took_turns(FLIPS)
    fights.saw("", KEY, node("y"), node("z"))
    fights.saw("one", KEY, node("z"), node("y"))

    assert fights.found == []


def test_values_that_never_come_back_are_progress() -> None:
    fights = Fights()
    for number in range(50):
        fights.saw(("one", "two")[number % 2], KEY, node(str(number)), node(str(number + 1)))

    assert fights.found == []


def test_making_and_removing_the_same_thing_in_turns_is_a_fight() -> None:
    fights = Fights()
    for _ in range(FLIPS):
        fights.saw("maker", KEY, None, node("x"))
        fights.saw("remover", KEY, node("x"), None)

    assert fights.found
    assert "maker and remover fight over <here>" in fights.found[0]


def stubborn(name: str, value: str) -> Controller[ConfigMap]:
    """A controller that wants a value in every config map."""

    def observe(view: View, key: Key) -> ConfigMap | None:
        return view.get(ConfigMap, *key)

    def diff(found: ConfigMap) -> list[Patch]:
        return [] if found.data.get("k") == value else [Patch(found, replace(found, data={"k": value}))]

    return Controller(name, ConfigMap, observe, diff)


async def test_two_controllers_that_fight_are_caught_in_a_simulation() -> None:
    api = FakeApi(ConfigMap)
    await api.create(ConfigMap(metadata=ObjectMeta(name="c", namespace="a")))

    async def both() -> None:
        async with alive(api, (stubborn("left", "l"), stubborn("right", "r"))), asyncio.timeout(10):
            while not api.fights.found:
                await asyncio.sleep(0.01)

    with pytest.raises(AssertionError, match=r"left and right fight over data\.k"):
        await both()


async def test_one_controller_alone_is_fine_in_the_same_simulation() -> None:
    api = FakeApi(ConfigMap)
    await api.create(ConfigMap(metadata=ObjectMeta(name="c", namespace="a")))

    async with alive(api, (stubborn("left", "l"),)) as loop:
        async with asyncio.timeout(10):
            while not loop.idle or api.all(ConfigMap)[0].data.get("k") != "l":
                await asyncio.sleep(0.01)

    assert api.fights.found == []
