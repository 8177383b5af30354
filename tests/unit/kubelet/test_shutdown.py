"""A machine that goes down: D-Bus's bytes, who ends when, and that the lock is held as long as it takes."""

import asyncio
import errno
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from kybern.api.core_v1 import Pod
from kybern.kubelet.admit import Room, refuse
from kybern.kubelet.agent import Agent
from kybern.kubelet.ending import Ending
from kybern.kubelet.shutdown import wire
from kybern.kubelet.shutdown.bus import BusFailure
from kybern.kubelet.shutdown.groups import MESSAGE, Period, check, groups, periods, verdict
from kybern.kubelet.shutdown.shutdown import FILE, Shutdown, World
from kybern.kubelet.shutdown.wire import BadMessage, Kind, Message
from kybern.kubelet.status import Verdict
from kybern.kubelet.surroundings import Closing
from kybern.kubelet.voice import Voice
from kybern.machinery.struct import Object
from tests.unit.kubelet.making import pod
from tests.unit.kubelet.using import named

NOBODY: Any = None
# What busctl sent for Hello, and what dbus-daemon 1.14 answered.
HELLO = bytes.fromhex(
    "6c01000100000000010000006d000000010 16f00150000002f6f72672f667265656465736b746f702f44427573000000"
    "0301730005000000 48656c6c6f00000002017300140000006f72672e667265656465736b746f702e4442757300000000"
    "0601730014000000 6f72672e667265656465736b746f702e4442757300000000".replace(" ", "")
)


def test_a_call_is_read_and_a_signal_with_a_truth_too() -> None:
    found = wire.decode(HELLO + bytes(-len(HELLO) % 8))

    assert (found.kind, found.serial, found.member) == (Kind.CALL, 1, "Hello")
    assert (found.path, found.interface) == ("/org/freedesktop/DBus", "org.freedesktop.DBus")
    assert wire.size(HELLO[:16]) == len(HELLO) + -len(HELLO) % 8


@pytest.mark.parametrize(
    ("signature", "body"),
    [
        ("", ()),
        ("ssss", ("shutdown", "kubelet", "why", "delay")),
        ("ssi", ("a", "b", -1)),
        ("bhyt", (True, 0, 7, 2**40)),
    ],
)
def test_what_is_written_is_read_again(signature: str, body: tuple[object, ...]) -> None:
    message = Message(Kind.SIGNAL, 7, "/a", "i.f", "M", sender=":1.2", signature=signature, body=body)

    data = wire.encode(message)

    assert wire.decode(data) == message
    assert wire.size(data[: wire.HEAD]) == len(data)


def test_a_variant_and_a_list_are_read_by_their_own_alignment() -> None:
    """ANSWER with v(t) 5000000 and as ["a", "bc"], written by hand from the specification."""
    body = bytes.fromhex(
        "017400 0000000000 404b4c0000000000 0f000000 01000000 6100 0000 02000000 626300".replace(" ", "")
    )
    fields = bytes.fromhex("080167000376617300 000000 000000 00".replace(" ", ""))
    fields = bytes.fromhex("08016700 03 766173 00".replace(" ", ""))
    head = bytes.fromhex("6c020001") + len(body).to_bytes(4, "little") + bytes.fromhex("05000000")
    whole = head + len(fields).to_bytes(4, "little") + fields
    whole += bytes(-len(whole) % 8)

    assert wire.decode(whole + body).body == (5_000_000, ["a", "bc"])


@pytest.mark.parametrize("data", [b"HTTP/1.1 400 Bad", b"l\x09\0\1" + bytes(12), HELLO[:40]])
def test_what_is_no_message_is_refused(data: bytes) -> None:
    with pytest.raises(BadMessage):
        wire.decode(data)


BY_PRIORITY = (Period(100, 10), Period(0, 20), Period(2_000_000_000, 5))


@pytest.mark.parametrize(
    ("whole", "critical", "by_priority", "expected"),
    [
        (0.0, 0.0, (), ()),
        (30.0, 10.0, (), (Period(0, 20), Period(2_000_000_000, 10))),
        (30.0, 0.0, (), (Period(0, 30), Period(2_000_000_000, 0))),
        (0.0, 0.0, BY_PRIORITY, (Period(0, 20), Period(100, 10), Period(2_000_000_000, 5))),
    ],
)
def test_periods(
    whole: float, critical: float, by_priority: tuple[Period, ...], expected: tuple[Period, ...]
) -> None:
    check(whole, critical, by_priority)

    assert periods(whole, critical, by_priority) == expected


def test_pods_end_from_the_lowest_priority_up_and_boundaries_count_upwards() -> None:
    configured = periods(0, 0, BY_PRIORITY)
    pods = [named(str(p), p) for p in (2_000_001_000, 100, 99, -5, 2_000_000_000, 1_999_999_999)]

    found = [(group.seconds, [one.metadata.uid for one in group.pods]) for group in groups(configured, pods)]

    assert found == [(20, ["99", "-5"]), (10, ["100", "1999999999"]), (5, ["2000001000", "2000000000"])]
    assert groups(configured, pods[1:2]) == (groups(configured, pods)[1].__class__(10, (pods[1],)),)


def test_a_pod_takes_its_own_time_if_that_is_shorter() -> None:
    short, long = pod(termination_grace_period_seconds=3), pod(termination_grace_period_seconds=60)

    assert [verdict(one, 10).grace for one in (short, long, pod())] == [3, 10, 10]
    assert (verdict(pod(), 1).reason, verdict(pod(), 1).message) == ("Terminated", MESSAGE)
    condition = verdict(pod(), 1).condition
    assert condition is not None
    assert (condition.type, condition.reason) == ("DisruptionTarget", "TerminationByKubelet")


def test_no_pod_is_taken_while_the_node_goes_down() -> None:
    assert refuse(pod(), Room(closing=True)) == Verdict(
        "NodeShutdown", "Pod was rejected as the node is shutting down."
    )
    assert refuse(pod(), Room()) is None


class Login:
    """A logind that says what a test wants."""

    def __init__(self) -> None:
        self.said: asyncio.Queue[bool | None] = asyncio.Queue()
        self.asked: list[float] = []
        self.held = False
        self.refuses = ""

    async def listen(self) -> None:
        if self.refuses:
            raise BusFailure(self.refuses)

    async def allow(self, seconds: float) -> None:
        self.asked.append(seconds)

    async def hold(self) -> None:
        self.held = True

    def release(self) -> None:
        self.held = False

    async def heard(self) -> bool:
        found = await self.said.get()
        if found is None:
            raise BusFailure("the bus closed the connection")
        return found

    @asynccontextmanager
    async def connected(self) -> AsyncIterator["Login"]:
        try:
            yield self
        finally:
            self.held = False


class Said:
    def __init__(self) -> None:
        self.events: list[str] = []

    def emit(
        self,
        about: Object | object,
        type: str,  # noqa: A002  # the API's word
        reason: str,
        message: str,
        annotations: Mapping[str, str] | None = None,
    ) -> None:
        self.events.append(f"{type} {reason} {message}")


class Node:
    """Pods that end when a test lets them."""

    def __init__(self, *pods: Pod) -> None:
        self.there = {one.metadata.uid: one for one in pods}
        self.ending: list[str] = []
        self.gone = asyncio.Condition()
        self.closing = Closing()
        self.said = Said()
        self.told = 0
        self.heard: list[str] = []
        self.hears = asyncio.Event()
        self.hears.set()

    def tell(self) -> None:
        self.told += 1

    async def let_go(self, *uids: str) -> None:
        async with self.gone:
            for uid in uids:
                del self.there[uid]
            self.gone.notify_all()

    async def ended(self, of: Pod) -> None:
        async with self.gone:
            await self.gone.wait_for(lambda: of.metadata.uid not in self.there)

    async def known(self, of: Pod) -> None:
        await self.hears.wait()
        self.heard.append(of.metadata.uid)

    def world(self) -> World:
        return World(
            pods=lambda: list(self.there.values()),
            end=lambda of, why: self.ending.append(f"{of.metadata.uid} {why.grace}"),
            ended=self.ended,
            told=self.known,
            tell=self.tell,
            voice=Voice(self.said, "n1"),
            closing=self.closing,
        )


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0)


@asynccontextmanager
async def watching(node: Node, login: Login, at: Path, *configured: Period) -> AsyncIterator[Shutdown]:
    found = Shutdown(configured, node.world(), at, login.connected)
    task = asyncio.ensure_future(found.run())
    try:
        yield found
    finally:
        task.cancel()
        await asyncio.wait({task})


TWO_PERIODS = (Period(0, 20), Period(2_000_000_000, 10))


async def test_pods_end_group_by_group_and_then_the_machine_may(tmp_path: Path) -> None:
    node, login = Node(named("web"), named("dns", 2_000_000_000)), Login()
    async with watching(node, login, tmp_path, *TWO_PERIODS) as found:
        await found.holding.wait()
        assert (login.held, login.asked) == (True, [30])
        login.said.put_nowait(True)
        await until(lambda: node.ending)
        assert (node.ending, node.closing.problem, node.told) == (["web 20"], "node is shutting down", 1)
        await node.let_go("web")
        await until(lambda: len(node.ending) == 2)
        assert (node.ending[1], login.held) == ("dns 10", True)
        login.said.put_nowait(True)
        await node.let_go("dns")
        await until(lambda: not login.held)
        await until(login.said.empty)

    assert node.said.events == ["Normal NodeShutdown Shutdown manager detected shutdown event"]
    assert node.heard == ["web", "dns"]
    state = json.loads((tmp_path / FILE).read_text())
    assert state["startTime"] <= state["endTime"]


async def test_pods_that_do_not_end_delay_the_machine_no_longer_than_their_period(tmp_path: Path) -> None:
    node, login = Node(named("web"), named("dns", 2_000_000_000)), Login()
    async with watching(node, login, tmp_path, Period(0, 0), Period(2_000_000_000, 0)) as found:
        await found.holding.wait()
        login.said.put_nowait(True)
        await until(lambda: not login.held)

    assert node.ending == ["web 0", "dns 0"]


async def test_those_that_have_not_ended_in_time_are_told_by_name(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    node, login = Node(named("web"), named("slow"), named("dns", 2_000_000_000)), Login()
    async with watching(node, login, tmp_path, Period(0, 1), Period(2_000_000_000, 10)) as found:
        await found.holding.wait()
        login.said.put_nowait(True)
        await until(lambda: node.ending)
        await node.let_go("web")
        await until(lambda: len(node.ending) == 3)
        await node.let_go("dns")
        await until(lambda: not login.held)

    assert "1 of 2 pods had not ended after 1 seconds: default/slow" in caplog.messages
    assert node.heard == ["dns"]


async def test_an_api_server_that_does_not_answer_delays_a_machine_by_moments(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kybern.kubelet.shutdown.shutdown._TELLING", 0.05)
    node, login = Node(named("web")), Login()
    node.hears.clear()
    async with watching(node, login, tmp_path, *TWO_PERIODS) as found:
        await found.holding.wait()
        login.said.put_nowait(True)
        await until(lambda: node.ending)
        await node.let_go("web")
        assert login.held
        await until(lambda: not login.held)

    assert node.heard == []
    assert json.loads((tmp_path / FILE).read_text())["endTime"]


async def test_a_shutdown_that_is_called_off_brings_the_lock_back(tmp_path: Path) -> None:
    node, login = Node(named("web"), named("dns", 2_000_000_000)), Login()
    async with watching(node, login, tmp_path, *TWO_PERIODS) as found:
        await found.holding.wait()
        login.said.put_nowait(True)
        await until(lambda: node.ending)
        login.said.put_nowait(False)
        await until(lambda: not node.closing.now and login.held)
        await node.let_go("web")

    assert node.ending == ["web 20"]
    assert node.said.events[1] == "Normal NodeShutdown Shutdown manager detected shutdown cancellation"


async def test_a_bus_that_goes_away_ends_nothing_that_has_begun(tmp_path: Path) -> None:
    node, login = Node(named("web"), named("dns", 2_000_000_000)), Login()
    async with watching(node, login, tmp_path, *TWO_PERIODS) as found:
        await found.holding.wait()
        login.said.put_nowait(True)
        await until(lambda: node.ending)
        login.said.put_nowait(None)
        await node.let_go("web")
        await until(lambda: len(node.ending) == 2)
        assert login.held
        await node.let_go("dns")
        await until(lambda: not login.held)


async def test_without_periods_nothing_is_asked(tmp_path: Path) -> None:
    await Shutdown((), Node().world(), tmp_path, Login().connected).run()


def agent_with(**workers: Any) -> Agent:
    agent = Agent(NOBODY, NOBODY, NOBODY, NOBODY, ())
    agent.workers = {uid: (worker, NOBODY) for uid, worker in workers.items()}
    return agent


async def test_a_pod_has_ended_when_its_volumes_are_away_though_its_cgroup_stays() -> None:
    """The last group may be what takes volumes away for the others; a cgroup holds up nobody."""
    removed, refused = asyncio.Event(), asyncio.Event()

    async def nothing(*_given: object, **_how: object) -> None:
        pass

    async def remove(_uid: str) -> None:
        await removed.wait()

    def busy(_name: str) -> None:
        refused.set()
        raise OSError(errno.EBUSY, "Device or resource busy")

    here = SimpleNamespace(
        volumes=SimpleNamespace(remove=remove),
        alignment=SimpleNamespace(release=nothing),
        cgroups=SimpleNamespace(remove=busy),
        machine=SimpleNamespace(cgroup_root="/kubepods"),
        claims=SimpleNamespace(unprepare=nothing),
    )
    worker = SimpleNamespace(
        pod=named("web"), unmounted=asyncio.Event(), stopped=asyncio.Event(), observe=nothing,
        describe=lambda **_how: None, actual=SimpleNamespace(alive=False),
        wait_for_change=lambda _seconds: asyncio.Event().wait(),
    )  # fmt: skip
    agent = agent_with(web=worker)
    ending = asyncio.ensure_future(Ending(cast("Any", worker), cast("Any", here), NOBODY).run())
    waiting = asyncio.ensure_future(agent.unmounted(worker.pod))
    await asyncio.sleep(0)
    assert (waiting.done(), agent.present()) == (False, [worker.pod])

    removed.set()
    async with asyncio.timeout(10):
        await waiting
        await refused.wait()
    assert (agent.present(), worker.stopped.is_set()) == ([], False)
    ending.cancel()
    await asyncio.wait({ending})


async def test_a_pod_that_ends_goes_on_telling_whether_it_is_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its grace period may be long, and readiness is probed to the end."""
    probed, told = asyncio.Event(), asyncio.Event()

    async def forever(*_given: object) -> None:
        await asyncio.Event().wait()

    async def nothing(**_how: object) -> None:
        pass

    def describe(*, ending: bool, final: bool = False) -> None:
        if ending and not final and probed.is_set():
            told.set()

    async def change(_seconds: float | None = None) -> None:
        await probed.wait()
        if told.is_set():
            probed.clear()

    worker = SimpleNamespace(
        pod=named("web"), verdict=None, observe=nothing, describe=describe, wait_for_change=change,
        actual=SimpleNamespace(alive=True),
    )  # fmt: skip
    monkeypatch.setattr("kybern.kubelet.ending.stop_pod", forever)
    monkeypatch.setattr("kybern.kubelet.ending.grace_of", lambda *_given: 300)
    ending = asyncio.ensure_future(Ending(cast("Any", worker), NOBODY, NOBODY).run())
    await asyncio.sleep(0)
    assert not told.is_set()

    probed.set()
    async with asyncio.timeout(10):
        await told.wait()
    ending.cancel()
    await asyncio.wait({ending})


def test_a_pod_that_is_over_by_itself_stays_what_it_came_to() -> None:
    ended = list[str]()

    def worker(uid: str, *, over: bool) -> Any:
        return SimpleNamespace(over=over, end=lambda _why: ended.append(uid))

    agent = agent_with(done=worker("done", over=True), runs=worker("runs", over=False))

    for uid in ("done", "runs", "gone"):
        agent.end(named(uid), verdict(named(uid), 5))

    assert ended == ["runs"]
