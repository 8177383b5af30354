"""Programs that take no notice of what they are given, or end before they could."""

import asyncio

import pytest
import uvloop

from kybern.netfilter.programs import CannotApply, run


def running(*command: str, stdin: str = "") -> str:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(run(*command, stdin=stdin))


def test_a_program_reads_what_it_is_given() -> None:
    lines = "line\n" * 100_000

    assert running("cat", stdin=lines) == lines


def test_a_program_may_end_without_reading() -> None:
    for _ in range(20):
        assert running("echo", "saved", stdin="x" * 1_000_000) == "saved\n"


def test_what_a_program_says_before_it_fails_is_told() -> None:
    with pytest.raises(CannotApply, match="exit status 3: no such table"):
        running("sh", "-c", "echo no such table >&2; exit 3", stdin="x" * 1_000_000)
