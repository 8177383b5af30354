"""Files that are followed while a server runs."""

from pathlib import Path

import pytest

from kybern.apiserver.reloads import Followed, stamp


def test_a_file_is_another_one_when_its_content_is(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("one")
    followed = Followed(path)
    assert not followed.changed()

    path.write_text("three")
    assert followed.changed()
    assert (followed.content, followed.changed()) == (b"three", False)

    (tmp_path / "beside").write_text("three")
    (tmp_path / "beside").rename(path)
    assert not followed.changed()


def test_a_file_that_could_not_be_read_is_read_the_next_time_though_nobody_touches_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    path.write_text("one")
    followed = Followed(path)
    path.write_text("three")

    def refused(_self: Path) -> bytes:
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patched:
        patched.setattr(Path, "read_bytes", refused)
        with pytest.raises(PermissionError):
            followed.changed()
    assert followed.changed()
    assert followed.content == b"three"


def test_a_file_that_is_not_there_has_a_stamp_like_no_other(tmp_path: Path) -> None:
    path = tmp_path / "file"
    assert stamp(path) == (0, 0, 0)
    path.write_text("")
    assert stamp(path) != (0, 0, 0)
