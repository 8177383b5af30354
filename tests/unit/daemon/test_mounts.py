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
    lines = LINES.strip()
    monkeypatch.setattr(Path, "read_text", lambda _path: lines)


def test_binds_of_a_directory_and_of_its_parts_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    assert mounts.shown_at(Path("/data/volumes/one")) == (Path("/pods/a b/mount"), Path("/pods/c/mount"))
    assert mounts.shown_at(Path("/data/volumes/three")) == ()


def test_what_is_mounted_inside_a_directory_is_found() -> None:
    assert mounts.shown_at(Path("/data/volumes/two")) == (Path("/data/volumes/two/data/inside"),)


def test_a_mount_is_told_from_its_parents() -> None:
    assert mounts.is_mounted(Path("/pods/a b/mount"))
    assert not mounts.is_mounted(Path("/pods/a b"))
