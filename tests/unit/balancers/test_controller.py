"""Which addresses services get, in what state and with what events."""

import asyncio
import contextlib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kybern.api.core_v1 import Event, Service, ServicePort
from kybern.api.meta_v1 import ObjectMeta
from kybern.balancers.controller import State, controller, diff
from kybern.balancers.wishes import held, wish
from kybern.loop.controller import Emit, PatchStatus
from kybern.loop.run import Loop
from kybern.machinery.pools import parse
from kybern.machinery.struct import replace
from tests.simulation.api import FakeApi
from tests.unit.balancers.making import service

POOLS = parse("default=10.0.0.1-10.0.0.3,fd00::1-fd00::2;quiet=10.9.0.1")
SHARED = {"kybern.io/share-address": "web"}
LOCAL: dict[str, Any] = {"external_traffic_policy": "Local"}


def outcome(mine: Service, *others: Service) -> tuple[tuple[str, ...] | None, tuple[str, ...]]:
    """The addresses that are written, None when nothing is; and the reasons of the events."""
    actions = list(diff(POOLS, State(mine, others)))
    written = [one.new for one in actions if isinstance(one, PatchStatus) and isinstance(one.new, Service)]
    addresses = tuple(str(one) for one in held(written[0])) if written else None
    return addresses, tuple(one.reason for one in actions if isinstance(one, Emit))


def dual(**more: Any) -> dict[str, Any]:
    return {"ip_families": ("IPv6", "IPv4"), **more}


OTHER: dict[str, Any] = {"ports": (ServicePort(port=81),)}
CASES = [
    pytest.param(service("x"), (), ("10.0.0.1",), "AddressAllocated", id="first"),
    pytest.param(service("x"), (service("y", "10.0.0.1"),), ("10.0.0.2",), "AddressAllocated", id="next"),
    pytest.param(service("x", "10.0.0.3"), (), None, "", id="keeps what it has"),
    pytest.param(service("x", "10.7.0.3"), (), ("10.0.0.1",), "AddressAllocated", id="not of a pool any more"),
    pytest.param(
        service("x"),
        (*(service(f"y{n}", f"10.0.0.{n}") for n in (1, 2, 3)), service("q", "10.9.0.1")),
        None,
        "NoAddressLeft",
        id="none left",
    ),
    pytest.param(
        service("x", annotations={"kybern.io/pool": "quiet"}), (), ("10.9.0.1",), "AddressAllocated", id="pool"
    ),
    pytest.param(
        service("x", load_balancer_class="kybern.io/load-balancer-quiet"), (), ("10.9.0.1",), "AddressAllocated",
        id="pool by class",
    ),
    pytest.param(
        service("x", "10.0.0.1", annotations={"kybern.io/pool": "quiet"}), (), ("10.9.0.1",),
        "AddressAllocated", id="another pool than before",
    ),
    pytest.param(
        service("x", annotations={"kybern.io/pool": "loud"}), (), None, "AddressUnavailable", id="no such pool"
    ),
    pytest.param(service("x", load_balancer_ip="10.0.0.3"), (), ("10.0.0.3",), "AddressAllocated", id="asked"),
    pytest.param(
        service("x", "10.0.0.1", load_balancer_ip="10.0.0.3"), (), ("10.0.0.3",), "AddressAllocated", id="asks anew"
    ),
    pytest.param(
        service("x", load_balancer_ip="10.0.0.3"), (service("y", "10.0.0.3"),), None, "AddressConflict", id="taken"
    ),
    pytest.param(
        service("x", "10.0.0.1", load_balancer_ip="10.0.0.3"), (service("y", "10.0.0.3"),), (),
        "AddressConflict", id="asks anew for what is taken",
    ),
    pytest.param(service("x", load_balancer_ip="10.5.0.3"), (), None, "AddressUnavailable", id="of no pool"),
    pytest.param(service("x", load_balancer_ip="fd00::1"), (), None, "AddressUnavailable", id="of no family"),
    pytest.param(service("x", load_balancer_ip="three"), (), None, "AddressUnavailable", id="no address"),
    pytest.param(service("x", **dual()), (), ("fd00::1", "10.0.0.1"), "AddressAllocated", id="dual stack"),
    pytest.param(
        service("x", annotations={"kybern.io/addresses": "10.0.0.2,fd00::2"}, **dual()), (),
        ("fd00::2", "10.0.0.2"), "AddressAllocated", id="asked, dual stack",
    ),
    pytest.param(
        service("x", annotations={"kybern.io/addresses": "10.0.0.2,10.0.0.3"}), (), None, "AddressUnavailable",
        id="two of one family",
    ),
    pytest.param(
        service("x", annotations={"kybern.io/pool": "quiet"}, **dual(ip_family_policy="RequireDualStack")), (),
        None, "NoAddressLeft", id="needs both",
    ),
    pytest.param(
        service("x", annotations={"kybern.io/pool": "quiet"}, **dual(ip_family_policy="PreferDualStack")), (),
        ("10.9.0.1",), "AddressAllocated", id="prefers both",
    ),
    pytest.param(
        service("x", annotations=SHARED), (service("y", "10.0.0.2", annotations=SHARED, **OTHER),), ("10.0.0.2",),
        "AddressAllocated", id="shares",
    ),
    pytest.param(
        service("x", annotations=SHARED), (service("y", "10.0.0.2", annotations=SHARED),), ("10.0.0.1",),
        "AddressAllocated", id="shares no port",
    ),
    pytest.param(
        service("x", annotations=SHARED), (service("y", "10.0.0.2", **OTHER),), ("10.0.0.1",), "AddressAllocated",
        id="only one wants to share",
    ),
    pytest.param(
        service("x", annotations=SHARED, selector={"app": "x"}, **LOCAL),
        (service("y", "10.0.0.2", annotations=SHARED, selector={"app": "y"}, **LOCAL, **OTHER),),
        ("10.0.0.1",), "AddressAllocated", id="local ones of other pods do not share",
    ),
    pytest.param(
        service("x", annotations=SHARED, selector={"app": "x"}, **LOCAL),
        (service("y", "10.0.0.2", annotations=SHARED, selector={"app": "x"}, **LOCAL, **OTHER),),
        ("10.0.0.2",), "AddressAllocated", id="local ones of the same pods share",
    ),
    pytest.param(
        service("x", "10.0.0.1", age=5), (service("y", "10.0.0.1", age=9),), ("10.0.0.2",), "AddressAllocated",
        id="the younger of two gives way",
    ),
    pytest.param(service("x", "10.0.0.1", age=9), (service("y", "10.0.0.1", age=5),), None, "", id="the older stays"),
    pytest.param(service("x", "10.0.0.1", type="ClusterIP"), (), (), "", id="is of another type now"),
    pytest.param(service("x", "203.0.113.1", type="ClusterIP"), (), None, "", id="another one's status"),
    pytest.param(service("x", "10.0.0.1", load_balancer_class="other.io/lb"), (), None, "", id="another one's class"),
]  # fmt: skip


@pytest.mark.parametrize(("mine", "others", "addresses", "reason"), CASES)
def test_what_a_service_gets(
    mine: Service, others: tuple[Service, ...], addresses: tuple[str, ...] | None, reason: str
) -> None:
    assert outcome(mine, *others) == (addresses, (reason,) if reason else ())


SERVICES = st.lists(
    st.tuples(
        st.sampled_from(["", "web"]), st.integers(80, 82), st.booleans(), st.sampled_from(["", "10.0.0.2"])
    ),
    max_size=8,
)


@given(SERVICES)
@settings(max_examples=200, deadline=None)
def test_nobody_has_what_another_has_unless_they_share_and_all_come_to_rest(asked: list[Any]) -> None:
    world = [
        service(
            f"s{number}",
            age=number,
            annotations={"kybern.io/share-address": share} if share else {},
            ports=(ServicePort(port=port),),
            load_balancer_ip=ip,
            external_traffic_policy="Local" if local else "Cluster",
        )
        for number, (share, port, local, ip) in enumerate(asked)
    ]
    for _ in range(2):
        for at, one in enumerate(world):
            for action in diff(POOLS, State(one, tuple(world[:at] + world[at + 1 :]))):
                if isinstance(action, PatchStatus) and isinstance(action.new, Service):
                    world[at] = action.new

    for at, one in enumerate(world):
        rest = tuple(world[:at] + world[at + 1 :])
        assert not [action for action in diff(POOLS, State(one, rest)) if isinstance(action, PatchStatus)]
        for other in rest:
            if set(held(one)) & set(held(other)):
                assert wish(one).may_share(wish(other))


async def test_who_waits_gets_the_address_that_another_one_frees() -> None:
    api = FakeApi(Service, Event)
    loop = Loop(api, [controller(parse("default=10.0.0.1"))])
    task = asyncio.create_task(loop.run())
    try:
        first = await api.create(new("first"))
        await until(lambda: told(api, "first") == ["10.0.0.1"])
        await api.create(new("second"))
        await until(lambda: any(one.reason == "NoAddressLeft" for one in api.all(Event)))
        assert told(api, "second") == []

        await api.delete(first)

        await until(lambda: told(api, "second") == ["10.0.0.1"])
        found = api.one(Service, "a", "second")
        assert found is not None
        assert found.status.load_balancer is not None
        assert found.status.load_balancer.ingress[0].ip_mode == "VIP"
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def test_a_hundred_services_get_addresses_of_their_own_from_one_list() -> None:
    api, lists = FakeApi(Service, Event), list[str]()

    def note(method: str, path: str) -> None:
        if method == "GET":
            lists.append(path)

    api.refuse = note
    task = asyncio.create_task(Loop(api, [controller(parse("default=10.0.0.1-10.0.0.100"))]).run())
    try:
        for number in range(100):
            await api.create(new(f"s{number}"))
        await until(lambda: all(told(api, f"s{number}") for number in range(100)))
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task

    assert len({told(api, f"s{number}")[0] for number in range(100)}) == 100
    assert len(lists) == 2, "one to fill the cache, and one before the first address"


def new(name: str) -> Service:
    made = service(name)
    return replace(made, metadata=ObjectMeta(name=name, namespace="a"))


def told(api: FakeApi, name: str) -> list[str]:
    found = api.one(Service, "a", name)
    return [str(one) for one in held(found)] if found else []


async def until(condition: Any) -> None:
    async with asyncio.timeout(30):
        while not condition():  # the fake API has nothing to wait on
            await asyncio.sleep(0.005)
