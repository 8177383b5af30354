"""The checks that say which part of the server has started."""

import pytest
from multidict import MultiDict

from kybern.apiserver.hooks import NAMES, Hooks, Stage
from kybern.apiserver.paths import Asked, Health


def health(hooks: Hooks) -> Health:
    found = Health()
    for name, check in hooks.checks():
        found.add(name, check)
    return found


async def asked(of: Health, path: str) -> tuple[int, str]:
    given = await of.answer(Asked("GET", path, {}, ""))
    assert given is not None
    return given.code, given.body.decode()


async def test_a_check_holds_once_its_stage_is_reached() -> None:
    hooks = Hooks()
    served = health(hooks)

    before = await asked(served, "/readyz/poststarthook/rbac/bootstrap-roles")
    hooks.reached(Stage.OBJECTS)

    assert before == (500, "internal server error: the default objects are not made yet\n")
    assert await asked(served, "/readyz/poststarthook/rbac/bootstrap-roles") == (200, "ok")
    assert (await asked(served, "/readyz"))[0] == 500


@pytest.mark.parametrize("endpoint", ["/healthz", "/livez", "/readyz"])
async def test_all_is_well_when_all_stages_are_reached(endpoint: str) -> None:
    hooks = Hooks()
    for stage in Stage:
        hooks.reached(stage)

    assert await asked(health(hooks), endpoint) == (200, "ok")


def test_every_stage_is_told_once_by_each_of_its_names() -> None:
    names = [name for each in NAMES.values() for name in each]

    assert set(NAMES) == set(Stage)
    assert [f"poststarthook/{name}" for name in sorted(names)] == [name for name, _ in Hooks().checks()]
    assert len(names) == len(set(names))


async def test_checks_that_are_left_out_are_named_and_so_are_those_that_there_are_not() -> None:
    query = MultiDict([("verbose", ""), ("exclude", "log"), ("exclude", "log,ping"), ("exclude", "what")])
    given = await Health().answer(Asked("GET", "/livez", query, ""))

    assert given is not None
    assert given.body.decode() == (
        "[+]ping ok\n"
        "[+]log excluded: ok\n"
        'warn: some health checks cannot be excluded: no matches for "log,ping", "what"\n'
        "livez check passed\n"
    )
