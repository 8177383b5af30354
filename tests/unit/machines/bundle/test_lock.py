"""The lock of a bundle as text: what is read is what was written, and what is no lock is told with its line."""

import pytest

from kybern.machines.bundle import lock
from kybern.machines.bundle.lock import Artefact, Lock, Part
from kybern.machines.errors import MachineError

RUNC = Artefact("a" * 64, 12, "debian-trixie/runc_1.1-2_amd64.deb", "runc", "1.1~2", "debian:trixie/main")
UV = Artefact("b" * 64, 7, "wheels/uv-1-py3-none-any.whl", "uv", "1", "pypi:uv")
BOTH = Lock((Part("debian-trixie", "0" * 16, (RUNC,)), Part("wheels", "1" * 16, (UV,))))


def test_a_lock_is_read_as_it_was_written() -> None:
    assert lock.parsed(lock.text(BOTH), "bundle.lock") == BOTH


def test_a_part_takes_the_place_of_the_one_of_its_name() -> None:
    newer = Part("wheels", "2" * 16, ())

    assert BOTH.with_part(newer).parts == (BOTH.parts[0], newer)
    assert Lock().with_part(newer).parts == (newer,)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("", "bundle.lock:1: not a lock file"),
        ("one==1\n", "bundle.lock:1: not a lock file"),
        (f"{lock.FORMAT}\n{UV.line}\n", "bundle.lock:2: an artefact that belongs to no part"),
        (f"{lock.FORMAT}\n# part wheels {'0' * 16}\nabc 1 wheels/x x 1\n", "bundle.lock:3: .* six fields"),
        (
            f"{lock.FORMAT}\n# part wheels {'0' * 16}\n{UV.line.replace('wheels/uv', 'wheels/../../uv')}\n",
            "bundle.lock:3: .* not a plain path below the bundle",
        ),
        (
            f"{lock.FORMAT}\n# part wheels {'0' * 16}\n{UV.line.replace('wheels/uv', '/etc/uv')}\n",
            "bundle.lock:3: .* not a plain path below the bundle",
        ),
    ],
    ids=["empty", "of pip", "no part", "fields", "above", "absolute"],
)
def test_what_is_no_lock_is_told_with_its_line(content: str, says: str) -> None:
    with pytest.raises(MachineError, match=says):
        lock.parsed(content, "bundle.lock")


def test_names_that_a_part_lacks_are_told() -> None:
    assert lock.missing_names(BOTH.parts[0], ["runc", "socat", "etcd-server"]) == ("etcd-server", "socat")
