"""Which parts of volumes containers get to see. Paths below a volume need mounts, and so root."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from kybern.api.core_v1 import VolumeMount
from kybern.kubelet.image_volumes import by_runtime
from kybern.kubelet.spec import Bind
from kybern.kubelet.volumes import kernel, subpath
from kybern.kubelet.volumes.binds import Places, binds
from kybern.kubelet.volumes.plugin import CannotMount
from tests.unit.kubelet.making import container

mounts = pytest.mark.skipif(os.geteuid() != 0, reason="mounts need root")


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    found = tmp_path / "home/volume-subpaths/v/c/0"
    yield found
    kernel.unmount(found, lazily=True)


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    found = tmp_path / "volume"
    found.mkdir()
    found.chmod(0o2775)
    return found


@pytest.mark.parametrize(
    ("expression", "problem"),
    [
        ("$(NONE)/x", "missing value for NONE"),
        ("$(EMPTY)/$(NAME)", "missing value for EMPTY"),
        ("$(ABSOLUTE)", "error SubPath `/tmp` must not be an absolute path"),
        ("$(UP)", "unable to provision SubPath `..`: must not contain '..'"),
    ],
)
def test_an_expression_that_leads_nowhere_is_refused(volume: Path, expression: str, problem: str) -> None:
    one = container(volume_mounts=(VolumeMount(name="v", mount_path="/v", sub_path_expr=expression),))
    known = {"EMPTY": "", "NAME": "x", "ABSOLUTE": "/tmp", "UP": ".."}

    with pytest.raises(CannotMount) as refused:
        list(binds(one, known, Places({"v": volume}, volume.parent / "home")))

    assert str(refused.value) == problem


@mounts
def test_what_is_missing_is_made_with_the_permissions_of_the_volume(volume: Path, place: Path) -> None:
    assert subpath.prepare(volume, "a/b", place) == place

    assert [(volume / name).stat().st_mode & 0o7777 for name in ("a", "a/b")] == [0o2775, 0o2775]
    (volume / "a/b/file").write_text("x")
    assert (place / "file").read_text() == "x"


@mounts
def test_links_within_the_volume_are_followed(volume: Path, place: Path) -> None:
    (volume / "..data").mkdir()
    (volume / "..data/key").write_text("1")
    (volume / "key").symlink_to("..data/key")

    subpath.prepare(volume, "key", place)

    assert place.read_text() == "1"


@pytest.mark.parametrize("target", ["/etc", "../outside", "inner"])
def test_links_out_of_the_volume_are_not(volume: Path, place: Path, target: str) -> None:
    (volume.parent / "outside").mkdir()
    (volume / "inner").symlink_to("/etc/hostname")
    (volume / "link").symlink_to(target)

    with pytest.raises(CannotMount, match="not within volume path"):
        subpath.prepare(volume, "link", place)

    assert not place.exists()


def test_a_link_put_in_the_way_afterwards_leads_nowhere(
    volume: Path, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (volume / "a").symlink_to("/etc")
    monkeypatch.setattr(os.path, "realpath", str)

    with pytest.raises((CannotMount, OSError)):
        subpath.prepare(volume, "a/ssl", place)
    with pytest.raises(CannotMount, match="has a link in it that was not there before: a"):
        subpath.prepare(volume, "a", place)

    assert not place.exists()


@mounts
def test_a_container_that_runs_again_gets_what_is_there_now(volume: Path, place: Path) -> None:
    (volume / "a").mkdir()
    subpath.prepare(volume, "a", place)
    (volume / "a").rmdir()
    (volume / "a").write_text("a file now")

    subpath.prepare(volume, "a", place)

    assert place.read_text() == "a file now"


@pytest.mark.parametrize(
    ("name", "version", "able"),
    [
        ("containerd", "1.7.24~ds1", False),
        ("containerd", "v2.0.5", False),
        ("containerd", "2.1.0", True),
        ("cri-o", "1.31", True),
    ],
)  # fmt: skip
def test_some_runtimes_mount_images_themselves(name: str, version: str, able: bool) -> None:
    assert by_runtime(name, version) is able


def test_an_image_that_the_runtime_mounts_is_named_instead_of_a_path(tmp_path: Path) -> None:
    one = container(volume_mounts=(VolumeMount(name="v", mount_path="v", sub_path="a/b"),))

    found = list(binds(one, {}, Places({"v": tmp_path}, tmp_path, {"v": "sha256:1"})))

    assert found == [Bind("/v", "", read_only=True, image="sha256:1", below="a/b")]


def test_what_no_container_may_write_into_is_mounted_for_reading(tmp_path: Path) -> None:
    both = (VolumeMount(name="v", mount_path="/v"), VolumeMount(name="w", mount_path="w", read_only=True))
    one = container(volume_mounts=both)

    found = binds(
        one,
        {},
        Places({"v": tmp_path, "w": tmp_path}, tmp_path, only_read=frozenset("v"), deep=frozenset({"/w"})),
    )

    assert [(bind.inside, bind.read_only, bind.recursive) for bind in found] == [
        ("/v", True, False),
        ("/w", True, True),
    ]
