"""Where a directory is shown, read from the kernel's list of mounts."""

from pathlib import Path

import pytest

from kybern.daemon import mounts

LINES = r"""
22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
30 22 8:2 / /data rw shared:2 - ext4 /dev/sdb rw
31 22 8:2 /volumes/one/data /pods/a\040b/mount rw shared:2 - ext4 /dev/sdb rw
32 22 8:2 /volumes/one/data/part /pods/c/mount rw shared:2 - ext4 /dev/sdb rw
33 22 8:2 /volumes/other /pods/d/mount rw shared:2 - ext4 /dev/sdb rw
34 22 8:1 /volumes/one/data /pods/e/mount rw shared:1 - ext4 /dev/sda1 rw
35 30 0:40 / /data/volumes/two/data/inside rw - tmpfs tmpfs rw
"""


@pytest.fixture(autouse=True)
def listed(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = LINES.strip().encode()
    monkeypatch.setattr(Path, "read_bytes", lambda _path: lines)


def test_binds_of_a_directory_and_of_its_parts_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    assert mounts.shown_at(Path("/data/volumes/one")) == (Path("/pods/a b/mount"), Path("/pods/c/mount"))
    assert mounts.shown_at(Path("/data/volumes/three")) == ()


def test_what_is_mounted_inside_a_directory_is_found() -> None:
    assert mounts.shown_at(Path("/data/volumes/two")) == (Path("/data/volumes/two/data/inside"),)


def test_a_mount_is_told_from_its_parents() -> None:
    assert mounts.is_mounted(Path("/pods/a b/mount"))
    assert not mounts.is_mounted(Path("/pods/a b"))


def test_names_may_be_any_bytes() -> None:
    """A pod that may mount can choose them; the rest of the table must be read all the same."""
    line = b"36 22 0:41 / /pods/f/%b rw - tmpfs tmpfs rw\n"
    names = (b"\xff\xfe", b"a\x0cb\x1cc", b"x\\011y\\134z", "a\u2028b".encode())

    found = [one.point.name for one in mounts.told(b"".join(line % name for name in names))]

    assert found == ["\udcff\udcfe", "a\x0cb\x1cc", "x\ty\\z", "a\u2028b"]
