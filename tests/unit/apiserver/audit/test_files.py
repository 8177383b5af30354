"""The file of the audit log: moved aside when it is full, tidied, and never the end of a request."""

import asyncio
import gzip
import os
from pathlib import Path

import pytest

from kybern.apiserver.audit.files import DAY, MEBI, LogFile

LINE = b"x" * (MEBI // 2) + b"\n"


class Clock:
    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        self.now += 0.001
        return self.now


def names(at: Path) -> list[str]:
    return sorted(path.name for path in at.iterdir())


def close(file: LogFile) -> None:
    asyncio.run(file.close())


def test_lines_are_added_to_what_is_there_and_nobody_else_reads_them(tmp_path: Path) -> None:
    path = tmp_path / "new/audit.log"
    for line in (b"a\n", b"b\n"):
        file = LogFile(str(path))
        assert file.write(line)
        close(file)

    assert path.read_bytes() == b"a\nb\n"
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700


def test_a_full_file_is_moved_aside_under_upstreams_name_and_no_line_is_cut(tmp_path: Path) -> None:
    file = LogFile(str(tmp_path / "audit.log"), size=1, clock=Clock())
    for _ in range(4):
        assert file.write(LINE)
    close(file)

    assert names(tmp_path) == [
        "audit-2027-01-15T08-00-00.001.log",
        "audit-2027-01-15T08-00-00.002.log",
        "audit-2027-01-15T08-00-00.003.log",
        "audit.log",
    ]
    assert all(path.read_bytes() == LINE for path in tmp_path.iterdir())


def test_a_line_larger_than_a_file_has_one_of_its_own(tmp_path: Path) -> None:
    file = LogFile(str(tmp_path / "audit.log"), size=1, clock=Clock())
    assert file.write(LINE * 3)
    assert file.write(b"small\n")
    close(file)

    assert (tmp_path / "audit.log").read_bytes() == b"small\n"


def test_only_so_many_and_only_young_ones_are_kept_and_other_files_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "audit-notes.log").write_text("mine")
    (tmp_path / "audit-2020-01-01T00-00-00.000.log.gz").write_text("old")
    clock = Clock()
    file = LogFile(str(tmp_path / "audit.log"), size=1, age=7, backups=2, clock=clock)
    for _ in range(5):
        file.write(LINE)
        clock.now += DAY
    close(file)

    assert len([name for name in names(tmp_path) if name.startswith("audit-2027")]) == 2
    assert "audit-notes.log" in names(tmp_path)
    assert not list(tmp_path.glob("audit-2020*"))


def test_moved_files_are_packed(tmp_path: Path) -> None:
    file = LogFile(str(tmp_path / "audit.log"), size=1, compress=True, clock=Clock())
    file.write(LINE)
    file.write(LINE)
    close(file)

    packed = tmp_path / "audit-2027-01-15T08-00-00.001.log.gz"
    assert names(tmp_path) == [packed.name, "audit.log"]
    assert gzip.decompress(packed.read_bytes()) == LINE
    assert packed.stat().st_mode & 0o777 == 0o600


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_told_once_and_each_line_is_reported_lost(
    caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    file = LogFile(str(tmp_path / "audit.log"))
    real, file._file = file._file, os.open("/dev/full", os.O_WRONLY)
    assert [file.write(b"a\n"), file.write(b"b\n")] == [False, False]
    assert caplog.text.count("No space left on device; make room there") == 1

    full, file._file = file._file, real
    os.close(full)
    assert file.write(b"c\n")
    close(file)
    assert (tmp_path / "audit.log").read_bytes() == b"c\n"
