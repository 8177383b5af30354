import fcntl
import os
import subprocess
import sys
import tarfile
import threading
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

from kybern.machines import images, oci, recipe
from kybern.machines.errors import MachineError

TARGETS = """\
http://mirror.invalid/debian/|bookworm|Debian
http://mirror.invalid/debian/|bookworm-updates|Debian
http://mirror.invalid/debian/|bookworm-backports|Debian
http://mirror.invalid/security/|bookworm-security|Debian
http://other.invalid/|stable|Somebody
"""


def test_packages_come_from_where_the_hosts_come_from() -> None:
    lines = images.sources("trixie", TARGETS, Path("/k.gpg"))

    assert lines == [
        "deb [signed-by=/k.gpg] http://mirror.invalid/debian/ trixie main",
        "deb [signed-by=/k.gpg] http://mirror.invalid/debian/ trixie-updates main",
        "deb [signed-by=/k.gpg] http://mirror.invalid/security/ trixie-security main",
    ]


def test_a_host_of_another_distribution_leaves_the_choice_to_mmdebstrap() -> None:
    assert images.sources("trixie", "http://x.invalid/|noble|Ubuntu\n", None) == []


def test_a_changed_recipe_is_another_image() -> None:
    made = recipe.container()

    assert made.digest == recipe.container().digest
    assert replace(made, packages=(*made.packages, "nano")).digest != made.digest
    assert recipe.virtual_machine().digest != made.digest


def test_a_changed_file_is_another_image(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("1")
    first = recipe.digest_of(tmp_path)

    (tmp_path / "a").chmod(0o755)
    second = recipe.digest_of(tmp_path)
    (tmp_path / "a").write_text("2")

    assert len({first, second, recipe.digest_of(tmp_path)}) == 3


def test_something_of_the_store_is_made_once_and_never_seen_half(tmp_path: Path) -> None:
    path = tmp_path / "digest" / "root"

    def fail(building: Path) -> None:
        building.mkdir()
        raise MachineError("no network")

    def build(building: Path) -> None:
        assert not building.exists()
        building.mkdir()

    with pytest.raises(MachineError):
        images.once(path, fail, tmp_path)
    assert not path.exists()

    assert images.once(path, build, tmp_path).is_dir()
    images.once(path, fail, tmp_path)


def test_a_command_that_fails_is_told_by_its_last_words() -> None:
    with pytest.raises(MachineError, match=r"sh -c .* failed with status 3: it is broken"):
        images.run(["sh", "-c", "echo it is broken >&2; exit 3"])
    with pytest.raises(MachineError, match="no-such-program is not installed"):
        images.run(["no-such-program"])


def test_the_same_programs_make_the_same_container_images() -> None:
    def make() -> bytes:
        return oci.layout([oci.pause(b"P"), oci.busybox(b"B", ["sh", "busybox", "ls"])])

    assert make() == make()


@pytest.mark.timeout(20)
def test_images_that_are_there_wait_for_no_builder_of_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another image may be minutes in the making, and every deploy asks for these."""
    programs = tmp_path / "root/usr/bin"
    programs.mkdir(parents=True)
    for name in ("catatonit", "busybox"):
        (programs / name).write_bytes(b"#!")
    monkeypatch.setattr(oci, "directory", lambda *_: tmp_path / "root")
    monkeypatch.setattr(oci, "packed", lambda _root: b"packed")
    made = oci.bundle(print, tmp_path / "store")

    with images.lock(tmp_path / "store"):
        assert oci.bundle(print, tmp_path / "store") == made
    assert made.read_bytes() == b"packed"
    assert made.stat().st_mode & 0o777 == 0o644


def test_who_has_to_wait_for_another_process_says_for_whom_and_since_when(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told = threading.Event()

    def other() -> None:
        with images.lock(tmp_path):
            told.set()

    with (tmp_path / ".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.write("4711 01:02:03 -m kybern.cli.main machines up lab\n")
        file.flush()
        waiting = threading.Thread(target=other)
        waiting.start()
        said = ""
        while not said:
            waiting.join(0.05)
            said = capsys.readouterr().err
        assert not told.is_set()
    waiting.join(60)

    assert told.is_set()
    assert said == (
        f"kybern: waits for process 4711, which builds in {tmp_path} since 01:02:03 UTC: "
        "-m kybern.cli.main machines up lab\n"
    )
    # Whoever comes next would be told of this one.
    assert (tmp_path / ".lock").read_text().split()[0] == str(os.getpid())


def test_a_note_that_cannot_be_read_is_no_reason_to_end() -> None:
    """One of a release before had none."""
    assert images.waits("", Path("/s")) == "waits for another process, which builds in /s"


def content_of(archive: tarfile.TarFile, name: str) -> bytes:
    stream = archive.extractfile(name)
    assert stream is not None
    return stream.read()


def test_a_layout_names_its_images_and_holds_what_it_names() -> None:
    import gzip
    import json

    with tarfile.open(fileobj=BytesIO(oci.layout([oci.busybox(b"B", ["sh"])]))) as archive:
        read = {
            name: content_of(archive, name) for name in archive.getnames() if archive.getmember(name).isfile()
        }
    index = json.loads(read["index.json"])

    def blob(descriptor: dict[str, Any]) -> bytes:
        content = read["blobs/" + descriptor["digest"].replace(":", "/")]
        assert len(content) == descriptor["size"]
        return content

    names = [each["annotations"]["io.containerd.image.name"] for each in index["manifests"]]
    assert names == ["docker.io/library/busybox:latest", "docker.io/library/busybox:1.36"]
    manifest = json.loads(blob(index["manifests"][0]))
    assert json.loads(blob(manifest["config"]))["config"]["Cmd"] == ["sh"]
    with tarfile.open(fileobj=BytesIO(gzip.decompress(blob(manifest["layers"][0])))) as layer:
        assert layer.getmember("bin/sh").linkname == "busybox"
        assert content_of(layer, "bin/busybox") == b"B"


def test_builders_in_one_pyinfra_process_do_not_stop_each_other(tmp_path: Path) -> None:
    """One pyinfra process of green threads deploys to all hosts: whoever waits must let the builder work."""
    program = """
import gevent.monkey
gevent.monkey.patch_all()
import pathlib, sys
from kybern.machines import images
path = pathlib.Path(sys.argv[1]) / "made"
def build(building):
    images.run(["sleep", "0.05"])
    building.mkdir()
gevent.joinall([gevent.spawn(images.once, path, build, path.parent) for _ in range(3)], raise_error=True)
assert path.is_dir()
"""
    subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=True, timeout=20)
