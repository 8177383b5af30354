"""The second round of mutating admission: who runs again, and when there is none."""

from collections.abc import Callable

import pytest

from kybern.admission.chain import Chain
from kybern.admission.framework import Again, Plugin, Request
from tests.unit.admission.writes import named, write


def plugin(name: str, act: Callable[[Request], None]) -> Plugin:
    async def mutate(request: Request) -> None:
        act(request)

    return Plugin(name, mutate=mutate)


async def test_all_plugins_run_once_more_when_somebody_wants_it() -> None:
    seen: list[str] = []

    def changes(request: Request) -> None:
        seen.append("changes")
        request.again = request.again or Again()
        request.again.changed("changes")

    chain = Chain([plugin("first", lambda _request: seen.append("first")), plugin("changes", changes)])
    request = write("CREATE", "pods", named("p"))
    await chain.mutate(request)

    assert seen == ["first", "changes", "first", "changes"]
    assert request.again is not None
    assert request.again.round == 1


@pytest.mark.parametrize("again", [None, Again()])
async def test_nothing_runs_twice_when_nobody_wants_it(again: Again | None) -> None:
    seen: list[str] = []
    request = write("CREATE", "pods", named("p"), again=again)
    await Chain([plugin("one", lambda _request: seen.append("one"))]).mutate(request)

    assert seen == ["one"]


def test_in_the_second_round_only_those_run_that_a_change_came_after() -> None:
    again = Again()
    again.called["hooks"] = {"early"}
    again.changed("hooks")
    again.called["hooks"] = {"late"}

    assert not again.skips("hooks", "late")
    again.round = 1
    assert (again.skips("hooks", "early"), again.skips("hooks", "late"), again.skips("other", "early")) == (
        False,
        True,
        True,
    )


async def test_what_connects_passes_only_plugins_that_look_at_it() -> None:
    seen: list[str] = []
    every = plugin("every", lambda _request: seen.append("every"))
    looks = plugin("looks", lambda _request: seen.append("looks"))
    chain = Chain([every, Plugin("looks", mutate=looks.mutate, connects=True)])
    await chain.mutate(write("CONNECT", "pods/exec", None, named("p")))

    assert seen == ["looks"]
