"""Who is alive, and what does not make anybody so; and when announcements repeat."""

from ipaddress import ip_address

import pytest

from kybern.balancers.beats import DEAD, Beat, Heard, pack, unpack
from kybern.balancers.repeats import AFTER, Repeats

KEY = b"k" * 32


@pytest.mark.parametrize("leads", [True, False])
def test_a_beat_says_who_made_it_and_whether_it_leads_to_pods(leads: bool) -> None:
    assert unpack(pack(Beat("n1", 7, leads), KEY), KEY) == ("n1", 7, leads)


def test_speakers_of_before_know_a_beat_and_take_one_that_does_not_lead_for_noise() -> None:
    assert pack(Beat("n1", 7), KEY).startswith(b"kybern-beat-1\0")
    assert not pack(Beat("n1", 7, leads=False), KEY).startswith(b"kybern-beat-1\0")


@pytest.mark.parametrize(
    "datagram",
    [
        b"",
        b"x" * 60,
        pack(Beat("n1", 7), b"o" * 32),
        pack(Beat("n1", 7), KEY)[:-1],
        pack(Beat("n1", 7), KEY)[:14] + b"\0" * 8 + pack(Beat("n1", 7), KEY)[22:],
        pack(Beat("n1", 7), KEY).replace(b"n1", b"n2"),
        pack(Beat("n1", 7, leads=False), KEY).replace(b"wait", b"beat"),
        pack(Beat("n" * 600, 7), KEY),
    ],
    ids=["empty", "noise", "another key", "cut", "another number", "another name", "another sort", "long"],
)
def test_what_was_not_made_with_the_key_is_no_beat(datagram: bytes) -> None:
    assert unpack(datagram, KEY) is None


def test_a_node_is_dead_when_it_is_silent_and_its_old_beats_do_not_revive_it() -> None:
    heard = Heard("me", 0.0)

    assert heard.hear(Beat("n1", 10), 1.0)
    assert heard.alive(1.0 + DEAD) == {"me", "n1"}
    assert not heard.hear(Beat("n1", 10), 3.0)
    assert not heard.hear(Beat("n1", 9), 3.0)
    assert heard.alive(1.1 + DEAD) == {"me"}
    assert heard.leading(1.1 + DEAD) == set()
    assert heard.hear(Beat("n1", 11), 9.0)
    assert heard.alive(9.0) == {"me", "n1"}


def test_nobody_speaks_for_this_node_and_the_gone_are_forgotten() -> None:
    heard = Heard("me", 0.0)
    assert not heard.hear(Beat("me", 10), 1.0)
    heard.hear(Beat("n1", 10), 1.0)
    heard.keep({"me"})

    assert heard.alive(1.0) == {"me"}
    assert (heard.is_settled(1.4), heard.is_settled(1.5)) == (False, True)


def test_a_node_leads_to_pods_when_its_last_beat_says_so() -> None:
    heard = Heard("me", 0.0)

    assert heard.leading(0.0) == set(), "what this node does is known better elsewhere"
    heard.hear(Beat("n1", 10), 1.0)
    assert heard.leading(1.0) == {"n1"}
    heard.hear(Beat("n1", 11, leads=False), 1.5)
    assert heard.leading(1.5) == set()
    assert heard.alive(1.5) == {"me", "n1"}


def test_an_address_is_announced_at_once_and_some_times_more() -> None:
    one, repeats = ip_address("10.0.0.1"), Repeats()

    assert repeats.keep([one], 100.0) == (frozenset([one]), frozenset())
    assert repeats.keep([one], 100.1) == (frozenset(), frozenset())
    seen = [at for at in range(200) if repeats.due(100.0 + at / 20)]
    assert seen == [int(after * 20) for after in AFTER]
    assert repeats.keep([], 120.0) == (frozenset(), frozenset([one]))
    assert repeats.due(120.0) == ()
