"""Volumes that change all at once."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kybern.kubelet.volumes.atomic import File, checked, write

NAMES = st.sampled_from(["a", "b", "dir/c", "dir/d", "deep/er/e"])


def seen(directory: Path) -> dict[str, bytes]:
    """What a user of the volume finds."""
    found: dict[str, bytes] = {}
    for path in directory.iterdir():
        if not path.name.startswith(".."):
            below = [path] if path.is_file() else [f for f in path.rglob("*") if f.is_file()]
            found |= {str(file.relative_to(directory)): file.read_bytes() for file in below}
    return found


def payload(**files: bytes) -> dict[str, File]:
    return {name: File(content, 0o644) for name, content in files.items()}


def test_files_show_under_their_names(tmp_path: Path) -> None:
    assert write(tmp_path, {"a": File(b"1", 0o400), "dir/b": File(b"2", 0o644)})

    assert seen(tmp_path) == {"a": b"1", "dir/b": b"2"}
    assert (tmp_path / "a").readlink() == Path("..data/a")
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o400


def test_the_same_payload_changes_nothing(tmp_path: Path) -> None:
    write(tmp_path, payload(a=b"1"))
    before = (tmp_path / "..data").readlink()

    assert not write(tmp_path, payload(a=b"1"))
    assert (tmp_path / "..data").readlink() == before


def test_a_change_leaves_one_directory_and_no_old_names(tmp_path: Path) -> None:
    write(tmp_path, payload(a=b"1", b=b"2"))

    assert write(tmp_path, payload(b=b"3"))

    assert seen(tmp_path) == {"b": b"3"}
    assert len([path for path in tmp_path.iterdir() if path.is_dir() and not path.is_symlink()]) == 1


def test_leftovers_of_a_crash_are_removed(tmp_path: Path) -> None:
    (tmp_path / "..2020_01_01_00_00_00.abc").mkdir()

    write(tmp_path, payload(a=b"1"))

    assert not (tmp_path / "..2020_01_01_00_00_00.abc").exists()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=30)
@given(st.lists(st.dictionaries(NAMES, st.binary(max_size=4)), min_size=1, max_size=4))
def test_the_last_payload_is_what_is_seen(tmp_path: Path, payloads: list[dict[str, bytes]]) -> None:
    for files in payloads:
        write(tmp_path, {name: File(content, 0o644) for name, content in files.items()})

    assert seen(tmp_path) == payloads[-1]


@pytest.mark.parametrize("path", ["/etc/passwd", "../x", "a/../../x", "..data", ""])
def test_paths_do_not_lead_out(path: str) -> None:
    with pytest.raises(ValueError, match="invalid path"):
        checked(path)
