"""The end of a pod: hooks, the order in which its containers end, and how long each may take."""

import asyncio
from dataclasses import dataclass, field, replace
from typing import Any, cast

import pytest

from kybern.api.core_v1 import Container, ExecAction, Lifecycle, LifecycleHandler, Pod, Probe
from kybern.kubelet.allotment import Allotment
from kybern.kubelet.cri import RuntimeFailure
from kybern.kubelet.plan import Stop
from kybern.kubelet.runtime import Actual, RunState
from kybern.kubelet.steps import Steps
from kybern.kubelet.stop import CannotStop, stop_pod
from kybern.kubelet.surroundings import Surroundings
from kybern.kubelet.voice import Voice
from tests.unit.kubelet.making import NOW, container, facts, pod, run

HOOK = Lifecycle(pre_stop=LifecycleHandler(exec=ExecAction(command=("bye",))))


@dataclass
class Fake:
    """A runtime whose containers end when they are let; it writes down what it is asked, and what is told."""

    ends: dict[str, asyncio.Event] = field(default_factory=dict)
    fails: tuple[str, ...] = ()
    code: int = 0
    asked: list[tuple[str, str]] = field(default_factory=list)
    graces: dict[str, int] = field(default_factory=dict)
    told: list[tuple[str, str]] = field(default_factory=list)

    async def execute(self, instance: str, _command: Any, _seconds: float) -> tuple[int, bytes]:
        self.asked.append(("hook", instance))
        return self.code, b"the password is 1234"

    async def stop_container(self, instance: str, grace: int) -> None:
        self.asked.append(("stop", instance))
        self.graces[instance] = grace
        if instance in self.fails:
            raise RuntimeFailure("no")
        if instance in self.ends:
            await self.ends[instance].wait()

    async def stop_sandbox(self, instance: str) -> None:
        self.asked.append(("stop", instance))

    def emit(self, _about: object, _type: str, reason: str, message: str, _notes: object = None) -> None:
        self.told.append((reason, message))

    def surroundings(self) -> Surroundings:
        here: Any = type("Here", (), {"runtime": self, "voice": Voice(self, "n1")})()
        return cast("Surroundings", here)


def sidecar(name: str, **fields: Any) -> Container:
    return container(name, restart_policy="Always", **fields)


def running(of: Pod) -> Actual:
    inits = [c for c in of.spec.init_containers if c.restart_policy]
    return facts(of, *(run(c, id=c.name) for c in (*inits, *of.spec.containers))).actual


async def asked(fake: Fake, expected: list[tuple[str, str]]) -> None:
    """Let it come to rest, and see what was asked since the last time."""
    for _turn in range(20):
        await asyncio.sleep(0)
    assert sorted(fake.asked) == sorted(expected)
    fake.asked.clear()


async def test_sidecars_end_after_the_others_the_last_first_and_all_hooks_begin_at_once() -> None:
    one = pod(
        container("web", lifecycle=HOOK),
        init_containers=(
            sidecar("first", lifecycle=HOOK),
            container("init"),
            sidecar("last", lifecycle=HOOK),
        ),
    )
    fake = Fake({name: asyncio.Event() for name in ("web", "first", "last")})

    stopping = asyncio.create_task(stop_pod(one, running(one), fake.surroundings(), 30))
    await asked(fake, [("hook", "web"), ("hook", "first"), ("hook", "last"), ("stop", "web")])
    fake.ends["web"].set()
    await asked(fake, [("stop", "last")])
    fake.ends["last"].set()
    await asked(fake, [("stop", "first")])
    fake.ends["first"].set()
    await stopping

    assert fake.asked == [("stop", "s0")]
    assert sorted(fake.told) == [
        ("Killing", f"Stopping container {name}") for name in ("first", "last", "web")
    ]


async def test_sidecars_wait_for_an_init_container_that_runs() -> None:
    init, side = container("init"), sidecar("side")
    one = pod(init_containers=(side, init))
    fake = Fake({"init": asyncio.Event()})
    actual = facts(one, run(side, id="side"), run(init, id="init")).actual

    stopping = asyncio.create_task(stop_pod(one, actual, fake.surroundings(), 30))
    await asked(fake, [("stop", "init")])
    fake.ends["init"].set()
    await stopping

    assert fake.asked == [("stop", "side"), ("stop", "s0")]


async def test_a_sidecar_waits_no_longer_than_the_pod_may_take() -> None:
    one = pod(container("web"), init_containers=(sidecar("side"),))
    fake = Fake({"web": asyncio.Event()})

    stopping = asyncio.create_task(stop_pod(one, running(one), fake.surroundings(), 0))
    await asked(fake, [("stop", "web"), ("stop", "side")])
    fake.ends["web"].set()
    await stopping

    assert fake.graces == {"web": 0, "side": 0}


async def test_a_container_that_cannot_be_stopped_keeps_no_sidecar_and_is_told() -> None:
    one = pod(container("web"), init_containers=(sidecar("side"),))
    fake = Fake(fails=("web",))

    with pytest.raises(CannotStop, match='failed to kill container "web": no'):
        await stop_pod(one, running(one), fake.surroundings(), 30)

    assert fake.asked == [("stop", "web"), ("stop", "side")]


@pytest.mark.parametrize(("grace", "given"), [(30, 30), (2, 2), (1, 2), (0, 0)])
async def test_a_container_has_two_seconds_at_least_unless_it_is_to_have_none(grace: int, given: int) -> None:
    one = pod(container("web"))
    fake = Fake()

    await stop_pod(one, running(one), fake.surroundings(), grace)

    assert fake.graces == {"web": given}


async def test_what_the_command_of_a_hook_said_is_no_event() -> None:
    one = pod(container("web", lifecycle=HOOK))
    fake = Fake(code=1)

    await stop_pod(one, running(one), fake.surroundings(), 30)

    assert fake.told == [
        ("Killing", "Stopping container web"), ("FailedPreStopHook", "PreStopHook failed"),
    ]  # fmt: skip


async def test_no_hook_runs_without_time_for_it_or_in_what_does_not_run() -> None:
    web = container("web", lifecycle=HOOK)
    one = pod(web)
    fake = Fake()

    await stop_pod(one, running(one), fake.surroundings(), 0)
    lost = facts(one, run(web, RunState.UNKNOWN, id="lost", finished_at=NOW)).actual
    await stop_pod(one, lost, fake.surroundings(), 30)

    assert [what for what, _whom in fake.asked] == ["stop"] * 4


@pytest.mark.parametrize(
    ("own", "probe", "given"),
    [(None, "liveness", 60), (5, "liveness", 5), (5, "startup", 60), (5, "", 60)],
)
async def test_a_container_that_failed_a_probe_has_the_time_that_the_probe_gives(
    own: int | None, probe: str, given: int
) -> None:
    one = container("web", liveness_probe=Probe(termination_grace_period_seconds=own), startup_probe=Probe())
    of = pod(one, termination_grace_period_seconds=60)
    fake, nobody = Fake(), cast("Allotment", None)
    actual = running(of)
    stop = Stop(actual.instances[0], one, "Container web failed", probe)

    assert await Steps(fake.surroundings(), nobody).do(of, [stop], actual, {})

    assert fake.graces == {"web": given}
    assert fake.told == [("Killing", "Container web failed")]


async def test_a_run_that_is_replaced_is_remembered_until_it_is_gone() -> None:
    one, of = container("web"), pod(container("web"))
    actual = running(of)
    steps = Steps(Fake().surroundings(), cast("Allotment", None))
    stop = Stop(actual.instances[0], one, "", replaced=True)

    await steps.do(of, [stop], actual, {})
    later = facts(of, run(one, id="second", attempt=1)).actual
    await steps.do(of, [replace(stop, instance=later.instances[0])], later, {})

    assert steps.replaced == {"second"}
