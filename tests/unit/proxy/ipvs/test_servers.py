"""What has to be done to a virtual server."""

import pytest

from kybern.proxy.ipvs.servers import Change, Command, Found, Held, Real, Server, Terms, Wanted, diff, drained

WEB = Server("10.96.0.10", "TCP", 80)
DNS = Server("10.96.0.10", "UDP", 53)
TERMS = Terms("rr")
A, B = Real("10.244.1.2", 8080), Real("10.244.1.3", 8080)
SERVING, IDLE, BUSY = Held(), Held(0, 0), Held(0, 3)


def found(terms: Terms = TERMS, **reals: Held) -> Found:
    return Found(terms, terms.flags, {{"a": A, "b": B}[name]: held for name, held in reals.items()})


@pytest.mark.parametrize(
    ("server", "there", "wanted", "told"),
    [
        (WEB, None, None, []),
        (WEB, None, (A,), [(Command.NEW_SERVICE, None, 1), (Command.NEW_DEST, A, 1)]),
        (WEB, found(a=SERVING), (A,), []),
        (WEB, found(a=SERVING), None, [(Command.DEL_SERVICE, None, 1)]),
        (WEB, found(a=SERVING), (A, B), [(Command.NEW_DEST, B, 1)]),
        (WEB, found(a=SERVING, b=SERVING), (A,), [(Command.SET_DEST, B, 0)]),
        (WEB, found(a=SERVING, b=BUSY), (A,), []),
        (WEB, found(a=SERVING, b=BUSY), (A, B), [(Command.SET_DEST, B, 1)]),
        (DNS, found(a=SERVING, b=SERVING), (A,), [(Command.DEL_DEST, B, 1)]),
        (DNS._replace(protocol="SCTP"), found(a=SERVING), (), [(Command.DEL_DEST, A, 1)]),
        (WEB, found(Terms("wlc"), a=SERVING), (A,), [(Command.SET_SERVICE, None, 1)]),
        (WEB, found(Terms("rr", 60), a=SERVING), (A,), [(Command.SET_SERVICE, None, 1)]),
    ],
)
def test_only_what_differs_is_changed(
    server: Server, there: Found | None, wanted: tuple[Real, ...] | None, told: list[object]
) -> None:
    changes = list(diff(server, there, None if wanted is None else Wanted(TERMS, wanted)))

    assert [(one.command, one.real, one.weight) for one in changes] == told
    assert all(one.server == server for one in changes)


def test_a_flag_that_somebody_set_is_taken_back() -> None:
    there = Found(TERMS, 0x4, {})  # one packet scheduling

    assert list(diff(WEB, there, Wanted(TERMS, ()))) == [Change(Command.SET_SERVICE, WEB, TERMS)]


@pytest.mark.parametrize(("held", "goes"), [(IDLE, True), (BUSY, False), (SERVING, False)])
def test_what_ends_goes_when_its_last_connection_has(held: Held, goes: bool) -> None:
    gone = list(drained(WEB, found(a=SERVING, b=held), {B}))

    assert gone == ([Change(Command.DEL_DEST, WEB, real=B)] if goes else [])


@pytest.mark.parametrize(
    ("terms", "flags"), [(TERMS, 0), (Terms("rr", 60), 1), (Terms("mh"), 0x10), (Terms("mh", 9), 0x11)]
)
def test_flags_are_those_of_affinity_and_of_the_scheduler(terms: Terms, flags: int) -> None:
    assert terms.flags == flags
