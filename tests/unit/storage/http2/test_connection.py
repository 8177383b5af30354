"""Calls over a connection whose server is played by the test."""

from dataclasses import dataclass, field

import pytest

from kybern.storage.http2 import frames, hpack
from kybern.storage.http2.connection import ROOM, Connection
from kybern.storage.http2.failed import CANCELLED, UNAVAILABLE, UNKNOWN, Failed
from kybern.storage.http2.hpack import Malformed

HEAD = hpack.encoded([(":path", "/a")])
OK = hpack.encoded([("grpc-status", "0")])
BEGUN = bytes((0x88,))


@dataclass
class Caller:
    lasting: bool = False
    messages: list[bytes] = field(default_factory=list)
    ends: list[Failed | None] = field(default_factory=list)

    def message(self, payload: bytes) -> None:
        self.messages.append(payload)

    def ended(self, problem: Failed | None) -> None:
        self.ends.append(problem)


class Bench:
    """A connection, and the frames that it has sent."""

    def __init__(self) -> None:
        self.sent = b""
        self.connection = Connection(self._write, self._write, self._write)
        self.connection.start()
        assert self.sent.startswith(frames.PREFACE)
        self.sent = self.sent[len(frames.PREFACE) :]

    def _write(self, data: bytes) -> None:
        self.sent += data

    def frames(self) -> list[tuple[int, int, int, bytes]]:
        """What was sent since the last time: kind, flags, stream, payload."""
        found, at = [], 0
        while at < len(self.sent):
            high, low, kind, flags, number = frames.HEAD.unpack_from(self.sent, at)
            end = at + 9 + (high << 8 | low)
            found.append((kind, flags, number, self.sent[at + 9 : end]))
            at = end
        self.sent = b""
        return found

    def receive(self, *parts: bytes) -> None:
        self.connection.receive(b"".join(parts))


def headers(number: int, block: bytes, *, ends: bool = False) -> bytes:
    flags = frames.END_HEADERS | (frames.END_STREAM if ends else 0)
    return frames.frame(frames.HEADERS, flags, number, block)


def data(number: int, payload: bytes) -> bytes:
    return frames.frame(frames.DATA, 0, number, payload)


def answer(number: int, payload: bytes) -> bytes:
    body = frames.message(payload)
    return headers(number, BEGUN) + data(number, body) + headers(number, OK, ends=True)


@pytest.fixture
def bench() -> Bench:
    found = Bench()
    found.frames()
    return found


def test_a_connection_says_first_that_it_keeps_no_table_and_has_room() -> None:
    said, window = Bench().frames()

    assert dict(frames.SETTING.iter_unpack(said[3])) == {
        frames.TABLE_SIZE: 0, frames.PUSH: 0, frames.FIRST_WINDOW: ROOM,
    }  # fmt: skip
    assert window[:3] == (frames.WINDOW, 0, 0)


def test_a_call_is_headers_and_one_message(bench: Bench) -> None:
    number = bench.connection.open(HEAD, b"question", Caller())

    assert bench.frames() == [
        (frames.HEADERS, frames.END_HEADERS, number, HEAD),
        (frames.DATA, frames.END_STREAM, number, b"\0\0\0\0\x08question"),
    ]


@pytest.mark.parametrize("size", [1, 3, 10, 1000])
def test_an_answer_comes_in_pieces_of_any_size(bench: Bench, size: int) -> None:
    callers = [Caller(), Caller()]
    numbers = [bench.connection.open(HEAD, b"", caller) for caller in callers]
    whole = answer(numbers[1], b"second" * 20) + answer(numbers[0], b"first")
    for at in range(0, len(whole), size):
        bench.receive(whole[at : at + size])

    assert [caller.messages for caller in callers] == [[b"first"], [b"second" * 20]]
    assert [caller.ends for caller in callers] == [[None], [None]]
    assert len(bench.connection) == 0


def test_a_message_may_be_spread_over_frames_and_a_frame_hold_many(bench: Bench) -> None:
    caller = Caller(lasting=True)
    number = bench.connection.open(HEAD, b"", caller)
    body = frames.message(b"one") + frames.message(b"") + frames.message(b"three" * 100)
    bench.receive(headers(number, BEGUN), data(number, body[:12]), data(number, body[12:30]))
    bench.receive(data(number, body[30:] + frames.message(b"four")))

    assert caller.messages == [b"one", b"", b"three" * 100, b"four"]
    assert caller.ends == []


def test_padding_is_taken_off(bench: Bench) -> None:
    caller = Caller()
    number = bench.connection.open(HEAD, b"", caller)
    padded = frames.frame(frames.DATA, frames.PADDED, number, b"\x03" + frames.message(b"a") + b"\0\0\0")
    bench.receive(padded)

    assert caller.messages == [b"a"]


def test_a_refusal_tells_status_and_words(bench: Bench) -> None:
    caller = Caller()
    number = bench.connection.open(HEAD, b"", caller)
    block = BEGUN + hpack.encoded([("grpc-status", "14"), ("grpc-message", "etcdserver%3A no leader")])
    bench.receive(headers(number, block, ends=True))

    (problem,) = caller.ends
    assert problem is not None
    assert (problem.status, problem.text, problem.untouched) == (14, "etcdserver: no leader", False)


def test_an_answer_that_is_not_of_grpc_is_told_by_its_status(bench: Bench) -> None:
    caller = Caller()
    number = bench.connection.open(HEAD, b"", caller)
    bench.frames()
    bench.receive(headers(number, bytes((0x8D,))))

    (problem,) = caller.ends
    assert problem is not None
    assert (problem.status, "404" in problem.text) == (UNKNOWN, True)
    assert bench.frames() == [(frames.RESET, 0, number, b"\0\0\0\x08")]


def test_headers_may_continue_in_further_frames(bench: Bench) -> None:
    caller = Caller()
    number = bench.connection.open(HEAD, b"", caller)
    block = BEGUN + OK
    bench.receive(frames.frame(frames.HEADERS, frames.END_STREAM, number, block[:4]))
    bench.receive(frames.frame(frames.CONTINUATION, frames.END_HEADERS, number, block[4:]))

    assert caller.ends == [None]


def test_what_the_windows_do_not_allow_waits(bench: Bench) -> None:
    value = bytes(100_000)
    first = bench.connection.open(HEAD, value, Caller())
    second = bench.connection.open(HEAD, b"small", Caller())
    parts = [part for part in bench.frames() if part[0] == frames.DATA]

    assert sum(len(part[3]) for part in parts) == frames.USUAL_WINDOW
    assert max(len(part[3]) for part in parts) == frames.USUAL_FRAME
    assert {part[1:3] for part in parts} == {(0, first)}

    bench.receive(frames.window(0, 1 << 20))
    (small,) = bench.frames()
    assert small[:3] == (frames.DATA, frames.END_STREAM, second)

    bench.receive(frames.window(first, 1 << 20))
    rest = bench.frames()
    assert sum(len(part[3]) for part in rest) == 100_005 - frames.USUAL_WINDOW
    assert [part[1] for part in rest][-1] == frames.END_STREAM


def test_the_servers_settings_hold_for_open_streams_too(bench: Bench) -> None:
    bench.receive(frames.settings((frames.FIRST_WINDOW, 10), (frames.FRAME_SIZE, 20_000)))
    assert bench.frames() == [(frames.SETTINGS, frames.ACK, 0, b"")]
    number = bench.connection.open(HEAD, b"x" * 25, Caller())
    assert [part[3] for part in bench.frames()[1:]] == [b"\0\0\0\0\x19xxxxx"]

    bench.receive(frames.settings((frames.FIRST_WINDOW, 40)))
    assert [part for part in bench.frames() if part[0] == frames.DATA] == [
        (frames.DATA, frames.END_STREAM, number, b"x" * 20)
    ]


def test_an_answer_gets_room_as_it_comes_and_a_lasting_one_as_it_is_used(bench: Bench) -> None:
    callers = {
        bench.connection.open(HEAD, b"", caller): caller for caller in (Caller(), Caller(lasting=True))
    }
    once, lasting = callers
    bench.frames()
    part = bytes(16_000)
    for _ in range(ROOM // 4 // 16_000 + 1):
        bench.receive(data(once, part), data(lasting, part))

    assert {part[2] for part in bench.frames()} == {0, once}
    bench.connection.used(lasting, ROOM // 4)
    assert [part[:3] for part in bench.frames()] == [(frames.WINDOW, 0, lasting)]


def test_a_question_for_a_sign_of_life_is_answered(bench: Bench) -> None:
    bench.receive(frames.frame(frames.PING, 0, 0, b"12345678"))
    assert bench.frames() == [(frames.PING, frames.ACK, 0, b"12345678")]
    bench.receive(frames.frame(frames.PING, frames.ACK, 0, b"12345678"))
    assert bench.frames() == []


def test_who_cancels_is_told_and_what_comes_later_goes_nowhere(bench: Bench) -> None:
    caller = Caller()
    number = bench.connection.open(HEAD, b"", caller)
    bench.frames()
    why = Failed(CANCELLED, "no longer")
    bench.connection.cancel(number, why)
    bench.connection.cancel(number, why)
    bench.receive(answer(number, b"late"))

    assert bench.frames() == [(frames.RESET, 0, number, b"\0\0\0\x08")]
    assert (caller.messages, caller.ends) == ([], [why])


def test_a_server_that_goes_has_not_touched_what_it_has_not_seen(bench: Bench) -> None:
    seen, unseen = Caller(), Caller()
    first = bench.connection.open(HEAD, b"", seen)
    bench.connection.open(HEAD, b"", unseen)
    bench.receive(frames.frame(frames.GOAWAY, 0, 0, first.to_bytes(4) + bytes(4) + b"bye"))

    assert bench.connection.leaving
    (problem,) = unseen.ends
    assert problem is not None
    assert (problem.status, problem.untouched) == (UNAVAILABLE, True)
    bench.receive(answer(first, b"still"))
    assert (seen.messages, seen.ends) == ([b"still"], [None])


def test_after_the_last_number_calls_belong_on_another_connection(bench: Bench) -> None:
    bench.connection._next = (1 << 31) - 3
    caller = Caller()
    bench.connection.open(HEAD, b"", Caller())
    assert not bench.connection.leaving
    last = bench.connection.open(HEAD, b"", caller)
    assert bench.connection.leaving
    bench.receive(answer(last, b"still"))

    assert caller.messages == [b"still"]


@pytest.mark.parametrize(("code", "untouched"), [(frames.REFUSED, True), (2, False)])
def test_a_stream_that_is_reset_fails(bench: Bench, code: int, untouched: bool) -> None:
    caller = Caller()
    number = bench.connection.open(HEAD, b"", caller)
    bench.receive(frames.frame(frames.RESET, 0, number, code.to_bytes(4)))

    (problem,) = caller.ends
    assert problem is not None
    assert (problem.status, problem.untouched) == (UNAVAILABLE, untouched)


def test_a_lost_connection_ends_all_calls_in_doubt(bench: Bench) -> None:
    callers = [Caller(), Caller(lasting=True)]
    for caller in callers:
        bench.connection.open(HEAD, b"", caller)
    bench.connection.lost("gone")

    problems = [caller.ends[0] for caller in callers]
    assert all(problem is not None and not problem.untouched for problem in problems)
    assert bench.connection.leaving


@pytest.mark.parametrize(
    "part",
    [
        data(1, b"\x01\0\0\0\0"),
        frames.frame(frames.DATA, frames.PADDED, 1, b"\x05ab"),
        frames.frame(frames.SETTINGS, 0, 0, b"\0\x01"),
        frames.frame(frames.WINDOW, 0, 0, b"\0"),
        headers(1, b"\xbe"),
    ],
)
def test_what_no_server_sends_is_refused(bench: Bench, part: bytes) -> None:
    bench.connection.open(HEAD, b"", Caller())
    with pytest.raises(Malformed):
        bench.receive(part)


def test_frames_of_an_unknown_kind_are_passed_over(bench: Bench) -> None:
    caller = Caller()
    number = bench.connection.open(HEAD, b"", caller)
    bench.receive(frames.frame(0xEE, 0, 0, b"what"), answer(number, b"a"))

    assert caller.messages == [b"a"]
