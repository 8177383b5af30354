"""The image that the control plane's pods run: a root cut out of the machine image, and the release at its own paths.

Two archives, as a release is two: the root and the dependencies; and the package alone, with a manifest that names the
layers of the first. Whoever has imported the first gets another package by the second.

Names bear the digest of what is in them, so that another content is another image. The same inputs make the same bytes.
"""

import gzip
import hashlib
import io
import json
import stat
import tarfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from kybern.machines import cut, oci
from kybern.machines.oci import Image, Layer

REPOSITORY = "localhost/kybern/control-plane"
BASE_REPOSITORY = f"{REPOSITORY}-base"
# What a program in Python of the release stands on.
WANTED = ("ca-certificates", "libstdc++6", "python3")
# Made on the machine image by its packages' scripts, so that no list has them.
MADE = ("/etc/ssl/certs",)
TOP = ("bin", "lib", "lib64", "sbin")  # links of a merged /usr
PLACES = ("etc", "dev", "opt", "proc", "root", "run", "sys", "tmp", "usr", "var", "var/log", "var/tmp")
OPEN = frozenset({"tmp", "var/tmp"})
LEVEL = 4  # of gzip; another one doubles the time for some hundredths


@dataclass(frozen=True, slots=True)
class Base:
    """The first archive: the image's name, and its layers without their content."""

    name: str
    layers: tuple[Layer, ...]


def python_of(root: Path) -> str:
    """The version of Python that the image has, as "3.13"."""
    return (root / "usr/bin/python3").readlink().name.removeprefix("python")


def inputs_of(root: Path) -> str:
    """What of a machine image goes in, as text: the packages with their versions."""
    return "\n".join(f"{one.name} {one.version}" for one in _wanted(root))


def base(root: Path, dependencies: Path, target: str) -> tuple[Base, bytes]:
    """The first archive. ``dependencies`` is the release's tar.gz, ``target`` the directory that it becomes."""
    layers = (_packed(_root(root)), unpacked_at(dependencies, target))
    image = _image(BASE_REPOSITORY, layers)
    content = oci.assembled([(image, layers)])
    return Base(image.names[0], tuple(replace(each, blob=None) for each in layers)), content


def whole(below: Base, package: Path, target: str) -> tuple[str, bytes]:
    """The second archive, and the image's name. ``package`` is the release's tar.gz, ``target`` its directory."""
    layers = (*below.layers, unpacked_at(package, target))
    image = _image(REPOSITORY, layers)
    return image.names[0], oci.assembled([(image, layers)])


def read(archive: Path) -> Base:
    """What an archive's image is, as its own index and manifest say."""
    with tarfile.open(archive) as opened:
        index = json.loads(_member(opened, "index.json"))
        (entry,) = index["manifests"]
        manifest = json.loads(_member(opened, _blob(entry["digest"])))
        config = json.loads(_member(opened, _blob(manifest["config"]["digest"])))
    described = zip(config["rootfs"]["diff_ids"], manifest["layers"], strict=True)
    layers = tuple(Layer(diff_id, each["digest"], each["size"]) for diff_id, each in described)
    return Base(entry["annotations"]["io.containerd.image.name"], layers)


def unpacked_at(archive: Path, target: str) -> Layer:
    """A layer with what a tar.gz holds, below ``target``."""
    return _packed(_moved(archive, target.strip("/")))


type _Entry = tuple[tarfile.TarInfo, bytes | None]


def _wanted(root: Path) -> tuple[cut.Package, ...]:
    return cut.closure(cut.packages((root / "var/lib/dpkg/status").read_text()), WANTED)


def _image(repository: str, layers: Iterable[Layer]) -> Image:
    plain = Image((), ())
    config = oci.config_of(plain, tuple(layers))
    return replace(plain, names=(f"{repository}:{hashlib.sha256(config).hexdigest()[:16]}",))


def _packed(entries: Iterable[_Entry]) -> Layer:
    """Packed as it is made, so that only the packed form is held."""
    plain, made = hashlib.sha256(), io.BytesIO()
    with gzip.GzipFile(fileobj=made, mode="wb", compresslevel=LEVEL, mtime=0) as packing:
        teed = _Tee(plain, packing)
        with tarfile.open(fileobj=teed, mode="w|", format=tarfile.PAX_FORMAT) as archive:
            for info, content in entries:
                archive.addfile(info, None if content is None else io.BytesIO(content))
    blob = made.getvalue()
    return Layer(f"sha256:{plain.hexdigest()}", f"sha256:{hashlib.sha256(blob).hexdigest()}", len(blob), blob)


class _Tee(io.RawIOBase):
    """Takes the bytes of a tar: their digest is the layer's identity, their packed form its content."""

    def __init__(self, digest: "hashlib._Hash", packing: gzip.GzipFile) -> None:
        self._digest, self._packing = digest, packing

    def write(self, data: "bytes | bytearray | memoryview") -> int:  # type: ignore[override]
        self._digest.update(data)
        return self._packing.write(data)


def _root(root: Path) -> Iterator[_Entry]:
    for name in sorted({*PLACES, *TOP}):
        if name in TOP:
            yield _link(name, str((root / name).readlink())), None
        else:
            yield _directory(name, 0o1777 if name in OPEN else 0o755), None
    for entry in oci.ACCOUNTS:
        if entry.content is not None:
            info = tarfile.TarInfo(entry.name)
            info.size, info.mode = len(entry.content), entry.mode
            yield info, entry.content
    lists = ((root / "var/lib/dpkg/info" / one.listed).read_text() for one in _wanted(root))
    made = (f"/{path.relative_to(root)}" for top in MADE for path in (root / top[1:]).rglob("*"))
    listed = {*cut.paths(lists), *MADE, *made}
    for path in sorted(listed | set(_compiled(root, listed))):
        name = str(_merged(PurePosixPath(path[1:])))
        if name not in PLACES and name not in TOP and (found := _taken(root / name, name)):
            yield found


def _merged(name: PurePosixPath) -> PurePosixPath:
    """Packages that are older than the merged /usr list /lib/... and mean /usr/lib/..."""
    return PurePosixPath("usr") / name if len(name.parts) > 1 and name.parts[0] in TOP else name


def _compiled(root: Path, listed: Iterable[str]) -> Iterator[str]:
    """What Python's packages have compiled when they were installed: without it, each start does that again."""
    for path in listed:
        source = root / path[1:]
        if source.suffix == ".py":
            cache = source.parent / "__pycache__"
            yield from (f"/{each.relative_to(root)}" for each in cache.glob(f"{source.stem}.*.pyc"))
            if cache.is_dir():
                yield f"/{cache.relative_to(root)}"


def _taken(path: Path, name: str) -> _Entry | None:
    try:
        status = path.lstat()
    except FileNotFoundError:  # the machine image leaves documents out, and dpkg lists them all the same
        return None
    if stat.S_ISLNK(status.st_mode):
        return _link(name, str(path.readlink())), None
    if stat.S_ISDIR(status.st_mode):
        return _directory(name, stat.S_IMODE(status.st_mode)), None
    info = tarfile.TarInfo(name)
    # Compiled modules are good for the time of their source, which is its package's.
    info.size, info.mode = status.st_size, stat.S_IMODE(status.st_mode)
    info.mtime = int(status.st_mtime) if path.suffix == ".py" else 0
    return info, path.read_bytes()


def _moved(archive: Path, target: str) -> Iterator[_Entry]:
    parts = PurePosixPath(target).parts
    for count in range(1, len(parts) + 1):
        yield _directory("/".join(parts[:count]), 0o755), None
    with tarfile.open(archive, "r:gz") as opened:
        for info in opened:
            stream = opened.extractfile(info) if info.isreg() else None
            yield info.replace(name=f"{target}/{info.name}", deep=False), stream.read() if stream else None


def _directory(name: str, mode: int) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.mode = tarfile.DIRTYPE, mode
    return info


def _link(name: str, target: str) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.mode, info.linkname = tarfile.SYMTYPE, 0o777, target
    return info


def _member(archive: tarfile.TarFile, name: str) -> bytes:
    stream = archive.extractfile(name)
    if stream is None:
        raise ValueError(f"{name} is no file of the archive")
    return stream.read()


def _blob(digest: str) -> str:
    return "blobs/" + digest.replace(":", "/")
