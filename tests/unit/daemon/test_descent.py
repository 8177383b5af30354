"""Trees deeper than any path, and such as change while they are walked."""

import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from kybern.daemon.descent import Moved, remove, walk

DEEP = 2100


def make_deep(root: Path, depth: int = DEEP, size: int = 1) -> None:
    """A chain of directories with a file at its end, whose path is too long for the kernel."""
    root.mkdir()
    at = os.open(root, os.O_RDONLY)
    for _level in range(depth):
        os.mkdir("d", dir_fd=at)
        below = os.open("d", os.O_RDONLY, dir_fd=at)
        os.close(at)
        at = below
    file = os.open("last", os.O_CREAT | os.O_WRONLY, dir_fd=at)
    os.write(file, b"x" * size)
    os.close(file)
    os.close(at)


@contextmanager
def few_files(most: int = 64) -> Iterator[None]:
    """Fewer open files than the tree is deep."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(
        resource.RLIMIT_NOFILE, (max(most, len(list(Path("/proc/self/fd").iterdir())) + 16), hard)
    )
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_tree_of_any_depth_is_walked_and_removed_with_few_files(tmp_path: Path) -> None:
    make_deep(tmp_path / "deep")
    seen = dict[str, int]()

    def each(_directory: int, entry: "os.DirEntry[str]") -> None:
        seen[entry.name] = seen.get(entry.name, 0) + 1

    with few_files():
        walk(tmp_path / "deep", each)
        remove(tmp_path / "deep")

    assert seen == {"d": DEEP, "last": 1}
    assert list(tmp_path.iterdir()) == []


def test_links_are_removed_and_what_they_lead_to_stays(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "file").write_text("kept")
    root = tmp_path / "root"
    (root / "below").mkdir(parents=True)
    (root / "below/link").symlink_to(outside)
    (root / "direct").symlink_to(outside / "file")

    remove(root)

    assert not root.exists()
    assert (outside / "file").read_text() == "kept"


def test_a_directory_that_is_swapped_for_a_link_is_not_entered(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    (outside / "in").mkdir(parents=True)
    root = tmp_path / "root"
    (root / "swapped").mkdir(parents=True)
    seen = []

    def each(_directory: int, entry: "os.DirEntry[str]") -> None:
        seen.append(entry.name)
        if entry.name == "swapped":
            (root / "swapped").rmdir()
            (root / "swapped").symlink_to(outside)

    walk(root, each)

    assert seen == ["swapped"]


def test_a_directory_that_is_moved_away_is_told(tmp_path: Path) -> None:
    root = tmp_path / "root"
    (root / "one/two").mkdir(parents=True)

    def each(_directory: int, entry: "os.DirEntry[str]") -> None:
        if entry.name == "file":
            # What ``..`` leads to is somewhere else now.
            (root / "one/two").rename(tmp_path / "two")

    (root / "one/two/file").write_text("x")
    with pytest.raises(Moved, match="two was moved meanwhile"):
        walk(root, each)


def test_what_is_not_there_is_gone(tmp_path: Path) -> None:
    remove(tmp_path / "never")
    (tmp_path / "file").write_text("x")
    remove(tmp_path / "file")

    assert list(tmp_path.iterdir()) == []
