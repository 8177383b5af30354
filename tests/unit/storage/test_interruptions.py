"""Watches that end together are one line of the log."""

import asyncio
import logging

import pytest

from kybern.storage.interruptions import GATHERED, Interruptions, told

GONE = "etcd at https://192.0.2.1:2379 does not answer"


@pytest.mark.parametrize(
    ("interrupted", "line"),
    [
        ({"/registry/pods/": GONE}, f"Watch of pods interrupted: {GONE}"),
        ({"/registry/pods/": GONE, "/registry/nodes/": GONE}, f"Watch of pods, nodes interrupted: {GONE}"),
        (
            {f"/registry/{name}/": GONE if name == "a" else "it was left" for name in "abcde"},
            f"Watch of a, b, c and 2 more interrupted: {GONE}; it was left",
        ),
    ],
)
def test_all_that_ended_and_why_is_one_line(interrupted: dict[str, str], line: str) -> None:
    assert told(interrupted) == line


async def test_those_of_a_moment_are_told_together_and_later_ones_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    interruptions = Interruptions()
    with caplog.at_level(logging.WARNING):
        for at in range(60):
            interruptions.add(f"/registry/{at}/", GONE)
        assert caplog.messages == []
        await asyncio.sleep(GATHERED * 1.5)
        interruptions.add("/registry/pods/", GONE)
        await asyncio.sleep(GATHERED * 1.5)

    assert caplog.messages == [
        f"Watch of 0, 1, 2 and 57 more interrupted: {GONE}",
        f"Watch of pods interrupted: {GONE}",
    ]
