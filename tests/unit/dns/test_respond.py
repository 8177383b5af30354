"""Answers from the bytes of questions: what is kept, for how long, and what other servers are asked."""

import asyncio
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field

import dnslib
import pytest

from kybern.dns import forward, respond
from kybern.dns.answer import Settings
from kybern.dns.forward import Forwarder
from kybern.dns.message import Malformed, Question, read
from kybern.dns.metrics import Counts
from kybern.dns.records import A, records
from kybern.dns.respond import Responder
from kybern.dns.upstream import Server, fits
from tests.unit.dns.objects import endpoint, external, service, slice_of, zone

ONE, TWO, STUB = Server("192.0.2.1"), Server("192.0.2.2"), Server("192.0.2.9")
NEGATIVE = "example.com. 900 SOA ns.example.com. me.example.com. 1 2 3 4 60"


@dataclass
class World:
    """Other name servers and the time: ``lines`` are what they know, ``broken`` the ones that do not answer."""

    now: float = 1000.0
    lines: tuple[str, ...] = ("www.example.com. 20 A 1.2.3.4",)
    broken: set[Server] = field(default_factory=set)
    codes: dict[Server, int] = field(default_factory=dict)
    asked: list[tuple[str, Server]] = field(default_factory=list)

    async def ask(self, server: Server, question: Question) -> bytes:
        self.asked.append((question.name, server))
        await asyncio.sleep(0)
        if server in self.broken:
            raise TimeoutError
        made = dnslib.DNSRecord.parse(struct.pack("!6H", 9, 0, 1, 0, 0, 0) + question.section).reply()
        found = [one for line in self.lines for one in dnslib.RR.fromZone(line)]
        made.add_answer(*(one for one in found if str(one.rname).rstrip(".").lower() == question.name))
        made.header.rcode = self.codes.get(server, 0 if made.rr else 3)
        if not made.rr:
            made.add_auth(*dnslib.RR.fromZone(NEGATIVE))
        return bytes(made.pack())


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    found = World()
    monkeypatch.setattr(forward, "ask", found.ask)
    for module in (forward, respond):
        monkeypatch.setattr(module.time, "monotonic", lambda: found.now)
    return found


type Ask = Callable[..., Awaitable[dnslib.DNSRecord]]


@pytest.fixture
async def ours(world: World) -> AsyncIterator[Responder]:
    async with asyncio.TaskGroup() as tasks:
        known = zone(
            (service("web", "10.96.0.1"), service("pets"), external("site", "www.example.com")),
            (slice_of("pets", *(endpoint(f"10.244.0.{number}") for number in range(3))),),
        )
        forwarder = Forwarder((ONE, TWO), tasks, Counts(), {"corp.example": (STUB,)})
        yield Responder(known, Settings(), forwarder, forwarder.counts, lambda: True)


def question(name: str, kind: int = A, number: int = 7) -> bytes:
    return bytes(dnslib.DNSRecord(dnslib.DNSHeader(id=number, rd=1), q=dnslib.DNSQuestion(name, kind)).pack())


async def ask(
    ours: Responder, name: str, kind: int = A, number: int = 7, protocol: str = "udp"
) -> dnslib.DNSRecord:
    data = question(name, kind, number)
    found = ours.at_once(data, protocol)
    return dnslib.DNSRecord.parse(
        found if isinstance(found, bytes) else await ours.later(found, data, protocol)
    )


def values(found: dnslib.DNSRecord) -> list[str]:
    return [str(one.rdata) for one in found.rr]


async def test_the_same_question_gets_the_kept_answer_with_its_own_id(ours: Responder) -> None:
    first = await ask(ours, "web.default.svc.cluster.local", number=1)
    second = await ask(ours, "web.default.svc.cluster.local", number=2)

    assert (first.header.id, second.header.id, values(first)) == (1, 2, values(second))


async def test_a_change_of_the_zone_ends_what_was_kept(ours: Responder) -> None:
    await ask(ours, "web.default.svc.cluster.local")
    assert ours.zone is not None
    ours.zone.put(("default", "web"), records(service("web", "10.96.0.2"), (), "cluster.local"))

    assert values(await ask(ours, "web.default.svc.cluster.local")) == ["10.96.0.2"]


async def test_addresses_take_turns(ours: Responder) -> None:
    firsts = [values(await ask(ours, "pets.default.svc.cluster.local"))[0] for _ in range(7)]

    assert set(firsts) == {"10.244.0.0", "10.244.0.1", "10.244.0.2"}
    assert max(map(firsts.count, firsts)) <= 3


async def test_nothing_is_denied_before_all_names_are_known(ours: Responder) -> None:
    ours.complete = lambda: False

    assert (await ask(ours, "web.default.svc.cluster.local")).header.rcode == 2
    assert values(await ask(ours, "www.example.com")) == ["1.2.3.4"]


async def test_an_answer_of_others_is_kept_for_its_time_which_runs(ours: Responder, world: World) -> None:
    ttls = []
    for seconds in (0, 5, 14, 5):
        world.now += seconds
        ttls.append((await ask(ours, "www.example.com")).rr[0].ttl)

    assert ttls == [20, 15, 1, 20]
    assert len(world.asked) == 2


async def test_what_is_not_there_is_kept_as_its_soa_says(ours: Responder, world: World) -> None:
    for seconds in (0, 30, 29, 2):
        world.now += seconds
        assert (await ask(ours, "nobody.example.com")).header.rcode == 3

    assert len(world.asked) == 2


async def test_nothing_is_kept_for_longer_than_is_set(ours: Responder, world: World) -> None:
    world.lines = ("www.example.com. 86400 A 1.2.3.4",)
    await ask(ours, "www.example.com")
    world.now += 301
    await ask(ours, "www.example.com")

    assert len(world.asked) == 2


async def test_a_question_that_is_being_asked_is_not_asked_again(ours: Responder, world: World) -> None:
    await asyncio.gather(*(ask(ours, "www.example.com", number=number) for number in range(50)))

    assert len(world.asked) == 1


async def test_a_server_that_does_not_answer_goes_to_the_end_of_the_line(
    ours: Responder, world: World
) -> None:
    world.broken = {ONE}

    assert values(await ask(ours, "www.example.com")) == ["1.2.3.4"]
    await ask(ours, "nobody.example.com")
    assert [server for _, server in world.asked] == [ONE, TWO, TWO]


async def test_when_nobody_answers_it_says_so_and_keeps_nothing(ours: Responder, world: World) -> None:
    world.broken = {ONE, TWO}
    assert (await ask(ours, "www.example.com")).header.rcode == 2
    assert len(world.asked) == 4

    world.broken = set()
    assert values(await ask(ours, "www.example.com")) == ["1.2.3.4"]


async def test_a_server_that_refuses_is_passed_over(ours: Responder, world: World) -> None:
    world.codes = {ONE: 5}

    assert (await ask(ours, "nobody.example.com")).header.rcode == 3
    assert [server for _, server in world.asked] == [ONE, TWO]


@pytest.mark.parametrize(("name", "server"), [
    ("a.corp.example", STUB), ("corp.example", STUB), ("x.y.corp.example", STUB), ("notcorp.example", ONE), ("example", ONE),
])  # fmt: skip
async def test_a_stub_domain_has_servers_of_its_own(
    ours: Responder, world: World, name: str, server: Server
) -> None:
    await ask(ours, name)

    assert world.asked == [(name, server)]


async def test_a_stub_domain_whose_only_server_is_this_one_is_asked_of_nobody_else(
    ours: Responder, world: World
) -> None:
    ours.forwarder.stubs = {"corp.example": ()}

    found = await ask(ours, "www.corp.example")

    assert (found.header.rcode, world.asked) == (2, [])


async def test_an_external_name_comes_with_what_it_leads_to(ours: Responder, world: World) -> None:
    found = await ask(ours, "site.default.svc.cluster.local")

    assert values(found) == ["www.example.com.", "1.2.3.4"]
    assert {one.ttl for one in found.rr} == {20}


async def test_an_external_name_that_dns_cannot_have_is_not_there(ours: Responder) -> None:
    assert ours.zone is not None
    ours.zone.put("x", records(external("long", f"{'a' * 64}.example.com"), (), "cluster.local"))

    found = await ask(ours, "long.default.svc.cluster.local")

    assert (found.header.rcode, values(found)) == (3, [])


@pytest.mark.parametrize("label", [b"a.b", b"a\\", b".", b"\\.\\", b"a.b.c.d"])
async def test_a_dot_within_a_label_is_no_border(ours: Responder, label: bytes) -> None:
    """Places of names are counted by labels: an answer would point into the midst of one."""
    name = b"".join(bytes((len(one),)) + one for one in (label, b"default", b"svc", b"cluster", b"local"))
    asked = struct.pack("!6H", 7, 0x100, 1, 0, 0, 0) + name + b"\0\0\1\0\1"

    found = ours.at_once(asked, "udp")

    assert isinstance(found, bytes)
    read_back = dnslib.DNSRecord.parse(found)
    assert (read_back.header.rcode, str(read_back.auth[0].rname)) == (3, "cluster.local.")
    assert str(read_back.auth[0].rdata).startswith("ns.dns.cluster.local. hostmaster.cluster.local. ")


async def test_an_external_name_without_its_server_is_a_failure_to_try_again(
    ours: Responder, world: World
) -> None:
    world.broken = {ONE, TWO}

    assert (await ask(ours, "site.default.svc.cluster.local")).header.rcode == 2


async def test_a_large_answer_of_others_is_cut_for_udp_alone(ours: Responder, world: World) -> None:
    world.lines = tuple(f"www.example.com. 60 A 192.0.2.{number}" for number in range(100))

    assert (await ask(ours, "www.example.com")).header.tc == 1
    assert len((await ask(ours, "www.example.com", protocol="tcp")).rr) == 100
    assert len(world.asked) == 1


async def test_the_spelling_of_a_question_comes_back(ours: Responder, world: World) -> None:
    await ask(ours, "www.example.com")
    found = await ask(ours, "WWW.Example.COM")

    assert (str(found.q.qname), values(found), len(world.asked)) == ("WWW.Example.COM.", ["1.2.3.4"], 1)


@pytest.mark.parametrize(("change", "rcode"), [((2, 0x28), 4), ((2, 0x10), 4)])
async def test_other_operations_are_not_implemented(
    ours: Responder, change: tuple[int, int], rcode: int
) -> None:
    data = bytearray(question("web.default.svc.cluster.local"))
    data[change[0]] = change[1]
    found = ours.at_once(bytes(data), "udp")

    assert isinstance(found, bytes)
    assert found[3] & 15 == rcode


@pytest.mark.parametrize("kind", [251, 252])
async def test_zones_are_not_transferred(ours: Responder, kind: int) -> None:
    assert (await ask(ours, "cluster.local", kind)).header.rcode == 5


def test_only_an_answer_to_what_was_asked_counts() -> None:
    sent = question("a.example.com")
    asked = read(sent)
    good = bytes(dnslib.DNSRecord.parse(sent).reply().pack())
    other = bytes(dnslib.DNSRecord.parse(question("b.example.com")).reply().pack())

    assert fits(good, sent, asked)
    assert not fits(other, sent, asked)
    assert not fits(b"\0\x08" + good[2:], sent, asked)
    assert not fits(sent, sent, asked)
    assert not fits(good[:20], sent, asked)
    with pytest.raises(Malformed):
        read(good)


@pytest.fixture
async def cache(world: World) -> AsyncIterator[Responder]:
    """A node's cache: no zone, and old answers for a minute."""
    async with asyncio.TaskGroup() as tasks:
        forwarder = Forwarder((ONE, TWO), tasks, Counts(), {"cluster.local": (STUB,)}, stale=60)
        yield Responder(None, Settings(), forwarder, forwarder.counts, lambda: True)


async def test_a_cache_asks_for_the_cluster_s_names_as_for_any_other(cache: Responder, world: World) -> None:
    world.lines = ("web.default.svc.cluster.local. 30 A 10.96.0.1",)

    for _ in range(3):
        assert values(await ask(cache, "web.default.svc.cluster.local")) == ["10.96.0.1"]

    assert world.asked == [("web.default.svc.cluster.local", STUB)]


async def test_an_old_answer_is_given_while_nobody_answers_and_only_for_its_time(
    cache: Responder, world: World
) -> None:
    await ask(cache, "www.example.com")
    world.broken = {ONE, TWO}
    world.now += 30
    old = await ask(cache, "www.example.com")

    assert (values(old), old.rr[0].ttl, old.header.rcode) == (["1.2.3.4"], 0, 0)
    assert cache.counts.stale == 1
    world.now += 50
    assert (await ask(cache, "www.example.com")).header.rcode == 2


async def test_a_server_that_is_back_ends_what_is_old(cache: Responder, world: World) -> None:
    await ask(cache, "www.example.com")
    world.codes = {ONE: 2, TWO: 2}
    world.now += 30
    assert values(await ask(cache, "www.example.com")) == ["1.2.3.4"]

    world.codes, world.lines = {}, ("www.example.com. 20 A 1.2.3.5",)
    assert values(await ask(cache, "www.example.com")) == ["1.2.3.5"]


async def test_without_leave_nothing_old_is_given(ours: Responder, world: World) -> None:
    await ask(ours, "www.example.com")
    world.broken = {ONE, TWO}
    world.now += 30

    assert (await ask(ours, "www.example.com")).header.rcode == 2
