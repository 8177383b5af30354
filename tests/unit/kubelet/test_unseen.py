"""What is told of a container that somebody means to attach to, and when."""

from typing import Any

import pytest

from kybern.api.core_v1 import EphemeralContainer, Pod
from kybern.kubelet.runtime import RunState
from kybern.kubelet.unseen import Unseen
from tests.unit.kubelet.making import container, ended, facts, pod, run

SHELL, WEB = container("shell", stdin=True), container("web")


class Looks:
    """Looks at one pod, by a clock of their own; nothing was there at the first one."""

    def __init__(self, of: Pod | None = None, period: float = 1.0) -> None:
        self._pod = of or pod(WEB, SHELL)
        self._unseen = Unseen(period)
        assert self.at(0) is None

    def at(self, now: float, *runs: Any) -> float | None:
        return self._unseen.left(self._pod, facts(self._pod, *runs).actual, now)


def test_a_start_is_held_back_for_a_second_from_when_it_is_seen() -> None:
    looks, shell = Looks(), run(SHELL)
    assert [looks.at(now, shell) for now in (10, 10.75, 11, 12)] == [1, 0.25, None, None]
    assert Looks(period=3).at(10, shell) == 3


def test_each_run_is_held_back() -> None:
    looks = Looks()
    assert looks.at(10, run(SHELL)) == 1
    assert looks.at(10.5, ended(SHELL)) is None
    assert looks.at(10.75, ended(SHELL), run(SHELL, attempt=1)) == 1
    assert looks.at(11.5, ended(SHELL), run(SHELL, attempt=1)) == 0.25


@pytest.mark.parametrize(
    "runs",
    [
        pytest.param((), id="nothing started"),
        pytest.param((run(SHELL, RunState.CREATED, started_at=None),), id="made and not started"),
        pytest.param((ended(SHELL),), id="ended already"),
        pytest.param((run(WEB),), id="nobody attaches to it"),
        pytest.param((run(SHELL, sandbox="before"),), id="of a sandbox before"),
    ],
)
def test_what_is_told_at_once(runs: tuple[Any, ...]) -> None:
    assert Looks().at(10, *runs) is None


def test_what_ran_before_the_kubelet_began_is_told_at_once() -> None:
    of, unseen = pod(WEB, SHELL), Unseen()
    assert unseen.left(of, facts(of, run(SHELL)).actual, 10) is None
    assert unseen.left(of, facts(of, run(SHELL, attempt=1)).actual, 10.5) == 1


def test_the_last_of_several_counts() -> None:
    other = container("other", stdin=True)
    looks = Looks(pod(WEB, SHELL, other))
    assert looks.at(10, run(SHELL), run(WEB)) == 1
    assert looks.at(10.5, run(SHELL), run(WEB), run(other)) == 1
    assert looks.at(11.25, run(SHELL), run(WEB), run(other)) == 0.25


def test_containers_that_were_added_for_looking_count() -> None:
    looking = EphemeralContainer(name="look", image="busybox:1", stdin=True)
    looks = Looks(pod(WEB, ephemeral_containers=(looking,)))
    assert looks.at(10, run(WEB), run(container("look"))) == 1
