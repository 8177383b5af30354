"""The control plane's image: two archives of which the second is small, the same bytes from the same inputs."""

import gzip
import hashlib
import io
import json
import os
import tarfile
from pathlib import Path

import pytest

from kybern.machines import control_plane_image as image

STATUS = "\n\n".join(
    f"Package: {name}\nStatus: install ok installed\nArchitecture: amd64\nVersion: 1"
    for name in ("ca-certificates", "libstdc++6", "python3", "less")
)
SOURCE_TIME = 1_750_000_000


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A machine image, as far as it counts here."""
    made = tmp_path / "root"
    files = {
        "usr/bin/python3.13": b"program",
        "usr/bin/less": b"pager",
        "usr/lib/python3/os.py": b"source",
        "usr/lib/python3/__pycache__/os.cpython-313.pyc": b"compiled",
        "usr/lib/libold.so": b"library",
        "etc/ssl/certs/ca-certificates.crt": b"authorities",
        "var/lib/dpkg/status": STATUS.encode(),
        "var/lib/dpkg/info/python3.list": b"/.\n/usr\n/usr/bin\n/usr/bin/python3\n/usr/bin/python3.13\n"
        b"/usr/lib\n/usr/lib/python3\n/usr/lib/python3/os.py\n/usr/share/doc/python3\n/usr/share/gone\n",
        "var/lib/dpkg/info/libstdc++6.list": b"/lib\n/lib/libold.so\n",
        "var/lib/dpkg/info/ca-certificates.list": b"/etc\n/etc/ssl\n",
        "var/lib/dpkg/info/less.list": b"/usr/bin/less\n",
    }
    for name, content in files.items():
        (made / name).parent.mkdir(parents=True, exist_ok=True)
        (made / name).write_bytes(content)
    os.utime(made / "usr/lib/python3/os.py", (SOURCE_TIME, SOURCE_TIME))
    (made / "usr/bin/python3").symlink_to("python3.13")
    (made / "usr/bin/python3.13").chmod(0o755)
    for name in image.TOP:
        (made / "usr" / name).mkdir(exist_ok=True)
        (made / name).symlink_to(f"usr/{name}")
    return made


def archive(path: Path, **files: bytes) -> Path:
    with tarfile.open(path, "w:gz") as made:
        for name, content in files.items():
            info = tarfile.TarInfo(f"bin/{name}")
            info.size, info.mode = len(content), 0o755
            made.addfile(info, io.BytesIO(content))
    return path


def blobs(content: bytes) -> dict[str, bytes]:
    found = {}
    with tarfile.open(fileobj=io.BytesIO(content)) as opened:
        for info in opened:
            if stream := opened.extractfile(info):
                found[info.name] = stream.read()
    return found


def layer(content: bytes) -> dict[str, tarfile.TarInfo]:
    with tarfile.open(fileobj=io.BytesIO(gzip.decompress(content))) as opened:
        return {info.name: info for info in opened}


def test_the_root_has_what_programs_need_and_nothing_else(root: Path, tmp_path: Path) -> None:
    made, content = image.base(root, archive(tmp_path / "d.tar.gz", lib=b"x"), "/opt/kybern/dependencies-1")
    cut = layer(blobs(content)[f"blobs/{made.layers[0].digest.replace(':', '/')}"])

    assert cut["usr/bin/python3"].linkname == "python3.13"
    assert cut["usr/bin/python3.13"].mode == 0o755
    assert cut["lib"].issym()
    assert cut["usr/lib/libold.so"].isreg()
    assert cut["etc/ssl/certs/ca-certificates.crt"].isreg()
    assert cut["etc/passwd"].isreg()
    assert cut["tmp"].mode == 0o1777
    assert not {name for name in cut if "less" in name or "dpkg" in name or "doc" in name or "gone" in name}
    assert {(each.uid, each.gid, each.uname) for each in cut.values()} == {(0, 0, "")}


def test_what_python_has_compiled_is_good_in_the_image(root: Path, tmp_path: Path) -> None:
    made, content = image.base(root, archive(tmp_path / "d.tar.gz"), "/opt/kybern/dependencies-1")
    cut = layer(blobs(content)[f"blobs/{made.layers[0].digest.replace(':', '/')}"])

    assert cut["usr/lib/python3/os.py"].mtime == SOURCE_TIME
    assert cut["usr/lib/python3/__pycache__/os.cpython-313.pyc"].mtime == 0


def test_the_same_inputs_make_the_same_bytes_and_another_package_another_name(
    root: Path, tmp_path: Path
) -> None:
    dependencies = archive(tmp_path / "d.tar.gz", lib=b"x")
    below, content = image.base(root, dependencies, "/opt/kybern/dependencies-1")
    names = {
        image.whole(below, archive(tmp_path / "p.tar.gz", run=text), "/opt/kybern/package-1")[0]
        for text in (b"one", b"two")
    }

    assert image.base(root, dependencies, "/opt/kybern/dependencies-1") == (below, content)
    assert len(names) == 2
    assert all(name.startswith(f"{image.REPOSITORY}:") for name in names)


def test_the_second_archive_holds_the_package_and_names_the_rest(root: Path, tmp_path: Path) -> None:
    below, _ = image.base(root, archive(tmp_path / "d.tar.gz", lib=b"x"), "/opt/kybern/dependencies-1")
    name, content = image.whole(below, archive(tmp_path / "p.tar.gz", run=b"y"), "/opt/kybern/package-1")
    found = blobs(content)
    (entry,) = json.loads(found["index.json"])["manifests"]
    manifest = json.loads(found[f"blobs/{entry['digest'].replace(':', '/')}"])
    own = f"blobs/{manifest['layers'][2]['digest'].replace(':', '/')}"

    assert [each["digest"] for each in manifest["layers"][:2]] == [each.digest for each in below.layers]
    assert len(found) == len({"oci-layout", "index", "manifest", "config", "package"})
    assert "opt/kybern/package-1/bin/run" in layer(found[own])
    assert entry["annotations"]["io.containerd.image.name"] == name


def test_what_is_in_an_archive_is_read_out_of_it(root: Path, tmp_path: Path) -> None:
    below, content = image.base(root, archive(tmp_path / "d.tar.gz", lib=b"x"), "/opt/kybern/dependencies-1")
    (tmp_path / "base.tar").write_bytes(content)

    assert image.read(tmp_path / "base.tar") == below
    packed = blobs(content)[f"blobs/{below.layers[1].digest.replace(':', '/')}"]
    assert f"sha256:{hashlib.sha256(gzip.decompress(packed)).hexdigest()}" == below.layers[1].diff_id
    assert image.python_of(root) == "3.13"
    assert image.inputs_of(root).splitlines() == ["ca-certificates 1", "libstdc++6 1", "python3 1"]
