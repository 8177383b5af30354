"""Files that are replaced as a whole, by several at once and with failures."""

import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from kybern.daemon.files import replace_file


def test_the_content_and_the_mode_are_the_wanted_ones(tmp_path: Path) -> None:
    file = tmp_path / "x.json"
    file.write_bytes(b"before")

    replace_file(file, b"after", 0o644, durable=True)

    assert file.read_bytes() == b"after"
    assert stat.S_IMODE(file.stat().st_mode) == 0o644
    assert list(tmp_path.iterdir()) == [file]


def test_several_writers_of_one_file_do_not_disturb_each_other(tmp_path: Path) -> None:
    file, contents = tmp_path / "x", [bytes([n]) * 100_000 for n in range(200)]

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda content: replace_file(file, content), contents))

    assert file.read_bytes() in contents
    assert list(tmp_path.iterdir()) == [file]


def test_a_failure_leaves_what_was_there_and_nothing_beside(tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()

    with pytest.raises(OSError, match="x"):
        replace_file(tmp_path / "x", b"content")

    assert list(tmp_path.iterdir()) == [tmp_path / "x"]
