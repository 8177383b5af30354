"""Logs are read as they were written, in part or as they grow."""

import contextlib
import io
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kybern.kubelet import logs
from kybern.kubelet.logline import fixed, moment, parse
from kybern.kubelet.logs import BadOptions, Options, options_of, read, start_of_tail

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def line(second: int, text: str, tag: str = "F", stream: str = "stdout") -> str:
    return f"2026-01-02T03:04:{second:02}.123456789Z {stream} {tag} {text}\n"


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "0.log"
    path.write_text(line(1, "one") + line(2, "tw", "P") + line(2, "o") + line(3, "three", stream="stderr"))
    return path


@contextlib.contextmanager
def patched_start(log: Path) -> Iterator[None]:
    """The container writes between the search for the last lines and the reading of them."""
    search = logs.start_of_tail

    def and_write(file: BinaryIO, lines: int) -> int:
        start = search(file, lines)
        with log.open("a") as more:
            more.write(line(4, "four") + line(5, "five"))
        return start

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(logs, "start_of_tail", and_write)
        yield


def over() -> Callable[[], Awaitable[bool]]:
    async def running() -> bool:
        return False

    return running


async def text(path: Path, **options: object) -> str:
    found = [chunk async for chunk in read(path, Options(**options), over())]  # type: ignore[arg-type]
    return b"".join(found).decode()


async def test_parts_of_a_line_come_together(log: Path) -> None:
    assert await text(log) == "one\ntwo\nthree\n"


async def test_times_stand_before_whole_lines(log: Path) -> None:
    found = await text(log, timestamps=True)

    assert found.splitlines()[1] == "2026-01-02T03:04:02.123456789Z two"


async def test_only_the_end_is_read(log: Path) -> None:
    assert await text(log, tail=1) == "three\n"
    assert await text(log, tail=0) == ""
    assert await text(log, tail=99) == "one\ntwo\nthree\n"


async def test_the_end_is_no_longer_than_asked_for_while_more_is_written(log: Path) -> None:
    async def writing() -> bool:
        raise AssertionError("nobody follows")

    reading = read(log, Options(tail=1), writing)
    with patched_start(log):
        found = [chunk async for chunk in reading]

    assert b"".join(found).decode() == "three\n"


async def test_only_what_is_new_is_read(log: Path) -> None:
    assert await text(log, since=NOW.replace(second=2)) == "two\nthree\n"


async def test_no_more_than_asked_for_is_read(log: Path) -> None:
    assert await text(log, limit=5) == "one\nt"


async def test_following_reads_until_the_container_ends(log: Path) -> None:
    asked = 0

    async def running() -> bool:
        nonlocal asked
        asked += 1
        if asked == 2:
            with log.open("a") as file:
                file.write(line(4, "four"))
        return asked < 3

    found = [chunk async for chunk in read(log, Options(follow=True), running)]

    assert b"".join(found).decode() == "one\ntwo\nthree\nfour\n"


async def test_following_goes_on_in_the_next_file(log: Path) -> None:
    asked = 0

    async def running() -> bool:
        nonlocal asked
        asked += 1
        if asked == 2:
            log.rename(log.with_suffix(".old"))
            log.write_text(line(5, "five"))
        return asked < 4

    found = [chunk async for chunk in read(log, Options(follow=True), running)]

    assert b"".join(found).decode() == "one\ntwo\nthree\nfive\n"


@given(st.lists(st.text(alphabet="ab", max_size=5), max_size=20), st.integers(0, 25), st.booleans())
def test_a_tail_is_the_last_lines(lines: list[str], count: int, whole: bool) -> None:
    content = "\n".join(lines) + ("\n" if whole and lines else "")
    data = content.encode()
    file = io.BytesIO(data)

    file.seek(start_of_tail(file, count))

    expected = content.splitlines(keepends=True)
    assert file.read().decode() == "".join(expected[len(expected) - min(count, len(expected)) :])


def test_queries_are_read() -> None:
    found = options_of({"follow": "true", "tailLines": "5", "sinceSeconds": "10", "previous": "1"}, NOW)

    assert found == Options(follow=True, previous=True, tail=5, since=NOW.replace(minute=3, second=55))


@pytest.mark.parametrize(
    ("said", "meant"), [("", True), ("true", True), ("yes", True), ("False", False), ("0", False)]
)
def test_yes_is_all_but_no(said: str, meant: bool) -> None:
    assert options_of({"follow": said}, NOW).follow is meant


def test_a_wrong_query_is_refused() -> None:
    with pytest.raises(BadOptions, match='invalid tailLines "x"'):
        options_of({"tailLines": "x"}, NOW)
    for query in (
        {"tailLines": "-1"},
        {"limitBytes": "0"},
        {"sinceSeconds": "0"},
        {"sinceSeconds": "1", "sinceTime": "2026-01-02T03:04:05Z"},
        {"stream": "Stdout"},
    ):
        assert not options_of(query, NOW).valid
    assert options_of({"tailLines": "0"}, NOW).valid


def test_times_of_lines_are_understood() -> None:
    assert moment(b"2026-01-02T03:04:05.123456789Z") == NOW.replace(microsecond=123456)
    assert moment(b"2026-01-02T05:04:05+02:00") == NOW
    assert moment(b"rubbish") is None


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        (b"2026-01-02T03:04:05.123456789Z", b"2026-01-02T03:04:05.123456789Z"),
        (b"2026-01-02T03:04:05.1Z", b"2026-01-02T03:04:05.100000000Z"),
        (b"2026-01-02T03:04:05Z", b"2026-01-02T03:04:05.000000000Z"),
        (b"2026-01-02T03:04:05.12+02:00", b"2026-01-02T03:04:05.120000000+02:00"),
        (b"2026-01-02T03:04:05.12+00:00", b"2026-01-02T03:04:05.120000000Z"),
        (b"2026-01-02T03:04:05-07:00", b"2026-01-02T03:04:05.000000000-07:00"),
    ],
)
def test_times_are_shown_with_all_their_digits(written: bytes, shown: bytes) -> None:
    assert fixed(written) == shown


def test_half_a_line_is_none() -> None:
    assert parse(b"2026-01-02T03:04:05Z stdout F no end") is None
    assert parse(b"rubbish\n") is None
