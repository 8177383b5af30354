"""Directories of volumes: made and removed whole, and nobody else's are touched."""

import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from kybern.daemon import mounts
from kybern.local_volumes import quota
from kybern.local_volumes.store import InUse, NoRoom, Store

MIB = 1 << 20


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    disk(monkeypatch, 100 * MIB, 100 * MIB)
    return Store.at(tmp_path / "volumes")


def disk(monkeypatch: pytest.MonkeyPatch, total: int, free: int) -> None:
    found = SimpleNamespace(
        f_blocks=total // 4096, f_bavail=free // 4096, f_bfree=free // 4096, f_frsize=4096,
        f_files=10, f_ffree=4, f_favail=4,
    )  # fmt: skip
    monkeypatch.setattr(os, "statvfs", lambda _path: found)


def test_a_volume_is_there_for_all_pods_and_for_nobody_else(store: Store) -> None:
    made = store.make("pvc-1", 10 * MIB)

    assert store.get("pvc-1") == made
    assert store.data("pvc-1").stat().st_mode & 0o777 == 0o777
    assert store.root.stat().st_mode & 0o777 == 0o700


def test_making_and_removing_twice_changes_nothing(store: Store) -> None:
    store.make("pvc-1", 10 * MIB)
    (store.data("pvc-1") / "file").write_text("kept")

    assert store.make("pvc-1", 10 * MIB).size == 10 * MIB
    assert (store.data("pvc-1") / "file").read_text() == "kept"
    for _ in range(2):
        store.forget(store.retire("pvc-1"))
        assert list(store.root.iterdir()) == []


@pytest.mark.parametrize("handle", ["", "..", "../pvc-1", ".new-pvc-1", "a/b", "/etc", "pvc_1", "x" * 300])
def test_a_handle_cannot_lead_anywhere_else(store: Store, handle: str) -> None:
    for ask in (store.get, store.data, store.retire):
        with pytest.raises(FileNotFoundError):
            ask(handle)
    with pytest.raises(FileNotFoundError):
        store.make(handle, MIB)


def test_what_this_driver_did_not_make_is_not_removed_and_not_overwritten(store: Store) -> None:
    foreign = store.root / "pvc-foreign"
    foreign.mkdir()
    (foreign / "precious").write_text("data")
    store.make("pvc-1", MIB)
    moved = store.root / "pvc-moved"
    (store.root / "pvc-1").rename(moved)  # its record bears another name

    for handle in ("pvc-foreign", "pvc-moved"):
        store.forget(store.retire(handle))
        with pytest.raises(FileNotFoundError):
            store.data(handle)
    with pytest.raises(FileExistsError, match="is there, and is no volume"):
        store.make("pvc-foreign", MIB)
    assert (foreign / "precious").read_text() == "data"
    assert moved.is_dir()


def test_a_link_is_not_followed(store: Store, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    store.make("pvc-1", MIB)
    (store.root / "pvc-1/data").rmdir()
    (store.root / "pvc-1/data").symlink_to(outside)

    with pytest.raises(FileNotFoundError):
        store.data("pvc-1")
    (store.root / ".gone-pvc-2").symlink_to(outside)
    store.forget(store.root / ".gone-pvc-2")
    assert outside.is_dir()


def test_room_is_what_is_neither_promised_nor_taken_nor_needed_by_the_node(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert store.room() == 90 * MIB
    store.make("pvc-1", 50 * MIB)
    assert store.room() == 40 * MIB
    disk(monkeypatch, 100 * MIB, 25 * MIB)
    assert store.room() == 15 * MIB
    disk(monkeypatch, 100 * MIB, 5 * MIB)
    assert store.room() == 0


def test_a_full_disk_refuses_and_leaves_nothing(store: Store) -> None:
    store.make("pvc-1", 50 * MIB)

    with pytest.raises(NoRoom, match=f"{41 * MIB} bytes are asked for, {40 * MIB} are left"):
        store.make("pvc-2", 41 * MIB)
    assert [path.name for path in store.root.iterdir()] == ["pvc-1"]


def test_a_volume_grows_by_what_is_left_and_never_shrinks(store: Store) -> None:
    store.make("pvc-1", 50 * MIB)

    assert store.grow("pvc-1", 60 * MIB).size == 60 * MIB
    assert store.grow("pvc-1", MIB).size == 60 * MIB
    with pytest.raises(NoRoom):
        store.grow("pvc-1", 91 * MIB)
    assert store.get("pvc-1").size == 60 * MIB


def test_a_volume_that_is_shown_to_a_pod_is_not_removed(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.make("pvc-1", MIB)
    (store.data("pvc-1") / "file").write_text("in use")
    target = Path("/var/lib/kubelet/pods/u/volumes/kubernetes.io~csi/v/mount")
    seen = (
        mounts.Mount("8:1", Path("/"), Path("/")),
        mounts.Mount("8:1", store.data("pvc-1"), target),
    )
    monkeypatch.setattr(mounts, "mounts", lambda: iter(seen))

    with pytest.raises(InUse, match=f"volume pvc-1 is still in use at {target}"):
        store.retire("pvc-1")
    assert (store.data("pvc-1") / "file").read_text() == "in use"


def test_what_was_begun_is_finished_at_the_next_start(store: Store) -> None:
    store.make("pvc-1", MIB)
    gone = store.retire("pvc-1")
    (gone / "data/file").write_text("left")
    (store.root / ".new-pvc-2/data").mkdir(parents=True)

    assert list(Store.at(store.root).root.iterdir()) == []


def test_a_volume_that_nobody_was_told_of_goes_if_it_holds_nothing(store: Store) -> None:
    for handle in ("pvc-empty", "pvc-full", "pvc-told"):
        store.make(handle, MIB)
    (store.data("pvc-full") / "file").write_text("data")
    store.tell("pvc-told")

    assert [store.abandon(one.handle) for one in tuple(store.all())] == [True, False, False]


def test_a_record_that_cannot_be_read_makes_a_directory_nobody_s(store: Store) -> None:
    store.make("pvc-1", MIB)
    (store.root / "pvc-1/volume.json").write_text("{")

    assert list(store.all()) == []
    assert store.retire("pvc-1") == store.root / ".gone-pvc-1"
    assert (store.root / "pvc-1").is_dir()


def test_use_is_the_file_system_s_where_nothing_is_limited(store: Store) -> None:
    store.make("pvc-1", MIB)
    found = store.use("pvc-1")

    assert (found.total, found.used, found.available) == (100 * MIB, 0, 100 * MIB)
    assert (found.files, found.files_used, found.files_free) == (10, 6, 4)


def test_a_file_system_without_project_quotas_limits_nothing(store: Store) -> None:
    assert quota.is_enforced(Path("/proc")) is False
    assert store.make("pvc-1", MIB).project == 0


def test_where_quotas_are_each_volume_has_a_project_of_its_own(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits: dict[int, int] = {}
    put = lambda _path, project, size: limits.update({project: size})  # noqa: E731
    monkeypatch.setattr(quota, "put", put)
    monkeypatch.setattr(quota, "limit", put)
    monkeypatch.setattr(quota, "used", lambda _path, _project: (3 * MIB, 2))
    limited = Store(store.root, limits=True)
    one, two = (limited.make(handle, 10 * MIB) for handle in ("pvc-1", "pvc-2"))
    limited.grow("pvc-1", 20 * MIB)
    limited.retire("pvc-2")
    three = limited.make("pvc-3", 5 * MIB)

    assert one.project != two.project == three.project
    assert limits == {one.project: 20 * MIB, three.project: 5 * MIB}
    used = limited.use("pvc-1")
    assert (used.total, used.used, used.available, used.files_used) == (20 * MIB, 3 * MIB, 17 * MIB, 2)
