"""Which devices go to which containers, and what is kept of it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest

from kybern._proto import deviceplugin_pb2 as pb
from kybern._proto import deviceplugin_pb2_grpc as rpc
from kybern.api.core_v1 import Container, Pod, ResourceRequirements
from kybern.api.meta_v1 import ObjectMeta
from kybern.kubelet.cpus.pinning import Pinning, Rules
from kybern.kubelet.cri import Runtime
from kybern.kubelet.devices.allocation import Devices
from kybern.kubelet.devices.ledger import (
    Asked,
    Given,
    Hand,
    Preferences,
    Question,
    Stand,
    Unavailable,
    free,
    health,
)
from kybern.kubelet.devices.plugins import Plugin
from kybern.kubelet.memory.holding import Memory
from kybern.kubelet.status import Verdict
from kybern.kubelet.topology.alignment import Alignment
from kybern.kubelet.topology.allot import allot
from kybern.kubelet.topology.hints import Hint, Numa
from kybern.kubelet.topology.merge import Policy
from kybern.machinery.struct import replace
from tests.unit.kubelet.making import container, pod

NAME = "example.com/knob"
WELL = {NAME: frozenset({"a", "b", "c"})}


def asking(name: str, count: int, **more: str) -> Container:
    return container(name, resources=ResourceRequirements(limits={NAME: str(count)}), **more)


def devices(of: Pod, *given: Given) -> dict[str, tuple[str, ...]]:
    hand = Hand(of, Stand({}, free(WELL, given)), Numa())
    allot(of, (hand,), Policy(), Numa())
    return {one.container: one.devices for one in hand.given}


def test_every_container_gets_its_own() -> None:
    assert devices(pod(asking("x", 1), asking("y", 2))) == {"x": ("a",), "y": ("b", "c")}


def test_what_others_have_is_not_given() -> None:
    assert devices(pod(asking("x", 1)), Given("other", "z", NAME, ("a", "b"))) == {"x": ("c",)}


def test_too_few_are_told_by_number() -> None:
    with pytest.raises(Unavailable, match=r"unavailable for example.com/knob. Requested: 2, Available: 1"):
        devices(pod(asking("x", 2)), Given("other", "z", NAME, ("a", "b")))


def test_an_ended_init_container_hands_its_devices_on_but_a_sidecar_keeps_them() -> None:
    first, side = asking("i", 2), asking("s", 1, restart_policy="Always")

    assert devices(pod(asking("x", 1), asking("y", 1), init_containers=(first,))) == {
        "i": ("a", "b"), "x": ("a",), "y": ("b",),
    }  # fmt: skip
    assert devices(pod(asking("x", 1), init_containers=(first, side))) == {
        "i": ("a", "b"), "s": ("a",), "x": ("b",),
    }  # fmt: skip
    assert devices(pod(asking("x", 2), init_containers=(side,))) == {"s": ("a",), "x": ("b", "c")}


def test_resources_without_a_plugin_are_not_ours() -> None:
    assert devices(pod(container(resources=ResourceRequirements(limits={"example.com/other": "1"})))) == {}


async def test_what_is_given_is_known_after_the_next_start(tmp_path: Path) -> None:
    given = tuple(Given(uid, "c", NAME, ("a",), b"\x00\xff") for uid in ("u1", "u2"))
    before = Devices(tmp_path / "plugins", Numa())
    before.take(given)

    await before.release("u2")

    assert Devices(tmp_path / "plugins", Numa()).of("u1", "c") == given[:1]
    assert Devices(tmp_path / "plugins", Numa()).holders() == {"u1"}
    (tmp_path / "plugins/devices.json").write_text("{")
    assert Devices(tmp_path / "plugins", Numa()).holders() == frozenset()


async def test_a_pod_that_cannot_have_all_gets_none(tmp_path: Path) -> None:
    found = Devices(tmp_path, Numa())
    cpus = Pinning(tmp_path / "cpus.json", Rules(), Runtime("unix:///nosuch", 1.0))
    alignment = Alignment(found, cpus, Memory(tmp_path / "memory", "None", {}, Numa()), Policy(), Numa())
    found.plugins.known[NAME] = Plugin(tmp_path / "nosuch.sock", well=frozenset({"a"}))
    greedy = pod(asking("x", 2))
    modest = replace(greedy, spec=replace(greedy.spec, containers=(asking("x", 1),)))

    text = f"requested number of devices unavailable for {NAME}. Requested: 2, Available: 1"
    assert await alignment.admit(greedy) == Verdict(
        "UnexpectedAdmissionError", f"Allocate failed due to {text}, which is unexpected"
    )
    refused = await alignment.admit(modest)
    assert refused is not None
    assert refused.message.startswith("Allocate failed due to rpc error: code = Unavailable")
    assert found.holders() == frozenset()
    assert await alignment.admit(pod()) is None


async def test_a_plugin_that_is_gone_for_long_has_none(tmp_path: Path) -> None:
    (tmp_path / "resources").write_text("old\nthere\n")
    plugins = Devices(tmp_path, Numa()).plugins
    task = asyncio.create_task(plugins.run())
    async with asyncio.timeout(10):
        while not plugins.listening:
            await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
    plugins.known["there"] = Plugin(tmp_path, all=frozenset({"a", "b"}), well=frozenset({"a"}))
    plugins.known["long"] = Plugin(tmp_path, all=frozenset({"a"}), gone_at=-1000.0)

    assert plugins.counts() == {"there": (2, 1), "long": (0, 0), "old": (0, 0)}


class Told(rpc.DevicePluginServicer):  # type: ignore[misc]  # generated code has no types
    """A plugin whose devices say where they are, or do not."""

    def __init__(self, options: Any = None) -> None:
        self.options = options or pb.DevicePluginOptions()

    async def GetDevicePluginOptions(self, request: Any, context: Any) -> Any:  # noqa: N802
        if self.options == REFUSED:
            await context.abort(grpc.StatusCode.INTERNAL, "not today")
        return self.options

    async def ListAndWatch(self, request: Any, context: Any) -> AsyncIterator[Any]:  # noqa: N802
        near = pb.TopologyInfo(nodes=[pb.NUMANode(ID=0), pb.NUMANode(ID=2)])
        devices = [pb.Device(ID="a", health="Healthy", topology=near), pb.Device(ID="b", health="Unhealthy")]
        yield pb.ListAndWatchResponse(devices=devices)
        await asyncio.Event().wait()


@asynccontextmanager
async def registering(tmp_path: Path, told: Told) -> AsyncIterator[Any]:
    """A kubelet's plugins, beside which one serves."""
    server = grpc.aio.server()
    rpc.add_DevicePluginServicer_to_server(told, server)
    plugins = Devices(tmp_path, Numa()).plugins
    task = asyncio.create_task(plugins.run())
    try:
        async with asyncio.timeout(30):
            while not plugins.listening:
                await asyncio.sleep(0)
        server.add_insecure_port(f"unix://{tmp_path}/knob.sock")
        await server.start()
        yield plugins
    finally:
        task.cancel()
        await asyncio.wait([task])
        await server.stop(None)


ASKED = pb.RegisterRequest(version="v1beta1", endpoint="knob.sock", resource_name=NAME)
REFUSED = pb.DevicePluginOptions(pre_start_required=True, get_preferred_allocation_available=True)


async def test_devices_say_where_they_are(tmp_path: Path) -> None:
    async with registering(tmp_path, Told()) as plugins:
        await plugins.Register(ASKED, None)
        async with asyncio.timeout(30):
            while not plugins.known[NAME].well:
                await asyncio.sleep(0.01)

        assert plugins.near() == {NAME: {"a": 0b101, "b": 0}}


@pytest.mark.parametrize("start", [False, True])
async def test_a_plugin_says_at_its_own_socket_what_it_wants_to_be_asked(tmp_path: Path, start: bool) -> None:
    """What its registration says counts for nothing: plugins leave it out."""
    wanted = pb.DevicePluginOptions(pre_start_required=start, get_preferred_allocation_available=not start)
    said = pb.DevicePluginOptions(pre_start_required=not start, get_preferred_allocation_available=start)
    async with registering(tmp_path, Told(wanted)) as plugins:
        request = pb.RegisterRequest(
            version="v1beta1", endpoint="knob.sock", resource_name=NAME, options=said
        )
        await plugins.Register(request, None)

        found = plugins.known[NAME]
        assert (found.needs_start, found.prefers) == (start, not start)


async def test_a_plugin_that_does_not_say_what_it_wants_is_not_used(tmp_path: Path) -> None:
    """As upstream's "when GetDevicePluginOptions fails, device plugin will not be used"."""
    async with registering(tmp_path, Told(REFUSED)) as plugins:
        options = [("grpc.default_authority", "localhost")]
        async with grpc.aio.insecure_channel(f"unix://{tmp_path}/kubelet.sock", options=options) as channel:
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await rpc.RegistrationStub(channel).Register(ASKED, timeout=30, wait_for_ready=True)

        assert "failed to get device plugin options: " in (refused.value.details() or "")
        assert "not today" in (refused.value.details() or "")
        assert (plugins.known, plugins.counts()) == ({}, {})


def test_devices_of_a_container_are_told_as_they_are() -> None:
    given = (Given("u1", "c", NAME, ("a", "b", "gone")), Given("u1", "c", "example.com/another", ("z",)))

    told = health(given, {NAME: {"a": 0, "b": 1}}, {NAME: frozenset({"a"})})

    assert [(one.name, [(d.resource_id, d.health) for d in one.resources]) for one in told] == [
        ("example.com/another", [("z", "Healthy")]),
        (NAME, [("a", "Healthy"), ("b", "Unhealthy"), ("gone", "Healthy")]),
    ]


async def test_those_that_have_a_device_hear_of_its_health(tmp_path: Path) -> None:
    found = Devices(tmp_path, Numa())
    heard: list[str] = []
    found.take([Given("u1", "c", NAME, ("a",)), Given("u2", "c", NAME, ("b",))])
    found.told = heard.append

    found.plugins.changed(NAME, frozenset({"b", "c"}))
    found.plugins.changed("example.com/another", frozenset({"a"}))

    assert heard == ["u2"]


NEAR = {NAME: {"a": 0b01, "b": 0b01, "c": 0b01, "d": 0b10, "e": 0b10, "f": 0}}


def question(available: str, must: str, size: int) -> Question:
    return Question(NAME, frozenset(available), frozenset(must), size)


@pytest.mark.parametrize(
    ("count", "nodes", "asked", "answer", "expected"),
    [
        (2, None, question("abcdef", "", 2), "ce", "ce"),
        (2, None, question("abcdef", "", 2), "e", "ae"),
        (2, None, question("abcdef", "", 2), "xyz", "ab"),
        (6, None, question("abcdef", "", 6), "", "abcdef"),
        (2, 0b01, question("abc", "", 2), "bcd", "bc"),
        (2, 0b01, question("abc", "", 2), "", "ab"),
        (4, 0b01, question("abcdef", "abc", 4), "abcf", "abcf"),
        (4, 0b01, question("abcdef", "abc", 4), "", "abcd"),
    ],
)
def test_a_plugin_says_which_it_would_rather_give_of_those_that_would_do(
    count: int, nodes: int | None, asked: Question, answer: str, expected: str
) -> None:
    one = asking("x", count)

    def tried(preferences: Preferences) -> str:
        hand = Hand(pod(one), Stand(NEAR, {NAME: frozenset("abcdef")}, preferences), Numa((0, 1)))
        hand.take(one, Hint(nodes, True))
        return "".join(sorted(hand.given[0].devices))

    with pytest.raises(Asked) as raised:
        tried(Preferences(frozenset({NAME})))
    assert raised.value.question == asked
    assert tried(Preferences(frozenset({NAME}), {asked: frozenset(answer)})) == expected


def test_a_plugin_is_not_asked_where_there_is_no_choice() -> None:
    one, preferences = asking("x", 3), Preferences(frozenset({NAME}))
    hand = Hand(pod(one), Stand(NEAR, {NAME: frozenset("abcdef")}, preferences), Numa((0, 1)))

    hand.take(one, Hint(0b01, True))

    assert hand.given[0].devices == ("a", "b", "c")


def test_what_an_init_container_had_must_be_among_them() -> None:
    first, then = asking("i", 1), asking("x", 2)
    answers = {question("abcdef", "", 1): frozenset("e")}
    hand = Hand(
        pod(then, init_containers=(first,)),
        Stand({}, {NAME: frozenset("abcdef")}, Preferences(frozenset({NAME}), answers)),
        Numa(),
    )
    hand.take(first, Hint(None, True))

    with pytest.raises(Asked) as raised:
        hand.take(then, Hint(None, True))

    assert raised.value.question == question("abcdef", "e", 2)


class Picky(rpc.DevicePluginServicer):  # type: ignore[misc]  # generated code has no types
    """A plugin that would rather give the last ones, and takes its time to say so."""

    def __init__(self) -> None:
        self.asked: list[tuple[list[str], list[str], int]] = []
        self.answering = asyncio.Event()
        self.refuse = ""

    async def GetPreferredAllocation(self, request: Any, context: Any) -> Any:  # noqa: N802
        (one,) = request.container_requests
        self.asked.append(
            (list(one.available_deviceIDs), list(one.must_include_deviceIDs), one.allocation_size)
        )
        await self.answering.wait()
        if self.refuse:
            await context.abort(grpc.StatusCode.INTERNAL, self.refuse)
        chosen = sorted(one.available_deviceIDs)[-one.allocation_size :]
        return pb.PreferredAllocationResponse(
            container_responses=[pb.ContainerPreferredAllocationResponse(deviceIDs=chosen)]
        )

    async def Allocate(self, request: Any, context: Any) -> Any:  # noqa: N802
        return pb.AllocateResponse(container_responses=[pb.ContainerAllocateResponse()])


@asynccontextmanager
async def picky(tmp_path: Path) -> AsyncIterator[tuple[Picky, Alignment]]:
    plugin, server = Picky(), grpc.aio.server()
    rpc.add_DevicePluginServicer_to_server(plugin, server)
    server.add_insecure_port(f"unix://{tmp_path}/knob.sock")
    await server.start()
    found = Devices(tmp_path, Numa())
    found.plugins.known[NAME] = Plugin(tmp_path / "knob.sock", prefers=True, well=frozenset("abc"))
    cpus = Pinning(tmp_path / "cpus.json", Rules(), Runtime("unix:///nosuch", 1.0))
    try:
        yield (
            plugin,
            Alignment(found, cpus, Memory(tmp_path / "memory", "None", {}, Numa()), Policy(), Numa()),
        )
    finally:
        await server.stop(None)


async def test_two_pods_that_wait_for_a_plugin_do_not_get_the_same(tmp_path: Path) -> None:
    one, other = (replace(pod(asking("x", 1)), metadata=ObjectMeta(name=uid, uid=uid)) for uid in "12")
    async with picky(tmp_path) as (plugin, alignment), asyncio.timeout(20):
        both = asyncio.gather(alignment.admit(one), alignment.admit(other))
        while len(plugin.asked) < 2:
            await asyncio.sleep(0.01)
        plugin.answering.set()
        assert list(await both) == [None, None]
        given = sorted(alignment.devices.of(uid, "x")[0].devices for uid in "12")

    assert given == [("b",), ("c",)]
    assert plugin.asked == [*[(["a", "b", "c"], [], 1)] * 2, (["a", "b"], [], 1)]


async def test_a_plugin_that_cannot_say_what_it_prefers_fails_the_pod(tmp_path: Path) -> None:
    async with picky(tmp_path) as (plugin, alignment):
        plugin.answering.set()
        plugin.refuse = "out of order"
        refused = await alignment.admit(pod(asking("x", 1)))

    assert refused == Verdict(
        "UnexpectedAdmissionError",
        "Allocate failed due to device plugin GetPreferredAllocation rpc failed with err: "
        "rpc error: code = Internal desc = out of order, which is unexpected",
    )
    assert alignment.devices.holders() == frozenset()
