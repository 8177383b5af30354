"""Which controllers run."""

import pytest

from kybern.controllers import CONTROLLERS
from kybern.loop.choice import ABSENT, OLD_NAMES, is_enabled, unknown
from kybern.loop.settings import Settings

NAMES = [make(Settings()).name for make in CONTROLLERS]


@pytest.mark.parametrize(
    ("wanted", "result"),
    [
        (("*",), True),
        (("*", "-deployment-controller"), False),
        (("*", "-deployment"), False),
        (("deployment",), True),
        (("namespace",), False),
        ((), False),
        (("deployment-controller", "-deployment-controller"), True),
    ],
)
def test_the_first_that_names_it_decides_and_then_the_star(wanted: tuple[str, ...], result: bool) -> None:
    assert is_enabled("deployment-controller", wanted) is result


def test_what_does_not_exist_is_named() -> None:
    assert unknown(("*", "-deployment", "-nope", "what"), NAMES) == ("-nope", "what")


@pytest.mark.parametrize("name", [*ABSENT, "service", "route", "cloud-node-lifecycle"])
def test_what_upstream_has_besides_may_be_switched_off(name: str) -> None:
    assert unknown((f"-{name}",), NAMES) == ()


def test_what_upstream_would_not_run_either_may_be_named_and_what_it_would_run_not() -> None:
    wanted = tuple(ABSENT)

    assert unknown(wanted, NAMES) == ("selinux-warning-controller",)
    assert not ABSENT.keys() & {*NAMES, *OLD_NAMES.values()}


def test_names_are_unique() -> None:
    assert len(set(NAMES)) == len(NAMES)


def test_old_names_are_different_from_new_ones() -> None:
    assert not OLD_NAMES.keys() & set(NAMES)


@pytest.mark.parametrize(
    ("wanted", "result"),
    [(("*",), False), (("*", "tokencleaner"), True), (("token-cleaner-controller",), True)],
)
def test_some_have_to_be_named(wanted: tuple[str, ...], *, result: bool) -> None:
    assert is_enabled("token-cleaner-controller", wanted) is result
