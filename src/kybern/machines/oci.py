"""Container images made without a registry: OCI layouts in a tarball, for ``ctr -n k8s.io images import``.

They are made from two static programs of the machine image (Debian's busybox-static and catatonit), so nothing is
fetched and nothing compiled. The same programs always make the same bytes: times are zero and names are sorted.
"""

import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kybern.machines.images import STORE, Say, directory, once, run
from kybern.machines.recipe import container
from kybern.machines.state import write

ARCHITECTURE = "amd64"
ARCHIVE = "containers.tar"
MEDIA = "application/vnd.oci.image"
# catatonit -P does what a pod's sandbox needs: it waits, and reaps the pod's orphans when they share its process space.
PAUSE = "registry.k8s.io/pause:3.10"
BUSYBOX = "docker.io/library/busybox"
BUSYBOX_VERSIONS = ("latest", "1.36")


@dataclass(frozen=True, slots=True)
class Entry:
    """A file, a link (``target``) or a directory (neither) of a layer."""

    name: str
    content: bytes | None = None
    target: str = ""
    mode: int = 0o755


@dataclass(frozen=True, slots=True)
class Image:
    """An image of one layer, or of two (``below``), under one or more names."""

    names: tuple[str, ...]
    entries: tuple[Entry, ...]
    below: tuple[Entry, ...] = ()
    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    user: str = ""
    environment: tuple[str, ...] = ("PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",)
    labels: dict[str, str] = field(default_factory=dict)
    directory: str = ""
    volumes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Layer:
    """A packed layer. ``blob`` is None where whoever imports the image has it already."""

    diff_id: str
    digest: str
    size: int
    blob: bytes | None = field(default=None, repr=False)


def _header(name: str, mode: int) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.mode, info.mtime = mode, 0
    return info


def _add(archive: tarfile.TarFile, entry: Entry) -> None:
    info = _header(entry.name, entry.mode)
    if entry.target:
        info.type, info.linkname = tarfile.SYMTYPE, entry.target
    elif entry.content is None:
        info.type = tarfile.DIRTYPE
    else:
        info.size = len(entry.content)
    archive.addfile(info, io.BytesIO(entry.content) if entry.content is not None else None)


def layer(entries: Iterable[Entry]) -> bytes:
    """An uncompressed layer."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for entry in sorted(entries, key=lambda each: each.name):
            _add(archive, entry)
    return made.getvalue()


def _digest(content: bytes) -> str:
    return "sha256:" + hashlib.sha256(content).hexdigest()


def _json(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def _descriptor(kind: str, content: bytes) -> dict[str, Any]:
    return {"mediaType": f"{MEDIA}.{kind}", "digest": _digest(content), "size": len(content)}


def packed_layer(content: bytes) -> Layer:
    """A layer of its uncompressed bytes."""
    blob = gzip.compress(content, compresslevel=6, mtime=0)
    return Layer(_digest(content), _digest(blob), len(blob), blob)


def config_of(image: Image, layers: Sequence[Layer]) -> bytes:
    """The image's configuration, whose digest is what a runtime calls the image's id."""
    config: dict[str, Any] = {"Env": list(image.environment)}
    for key, value in (("Entrypoint", image.entrypoint), ("Cmd", image.command)):
        if value:
            config[key] = list(value)
    if image.user:
        config["User"] = image.user
    if image.labels:
        config["Labels"] = image.labels
    if image.directory:
        config["WorkingDir"] = image.directory
    if image.volumes:
        config["Volumes"] = {path: {} for path in image.volumes}
    return _json(
        {
            "architecture": ARCHITECTURE,
            "os": "linux",
            "created": "1970-01-01T00:00:00Z",
            "config": config,
            "rootfs": {"type": "layers", "diff_ids": [layer.diff_id for layer in layers]},
            "history": [{"created": "1970-01-01T00:00:00Z", "created_by": "kybern"} for _layer in layers],
        }
    )


def _layers(image: Image) -> tuple[Layer, ...]:
    return tuple(packed_layer(layer(entries)) for entries in (image.below, image.entries) if entries)


def layout(images: Sequence[Image]) -> bytes:
    """The tarball of an OCI layout with these images."""
    return assembled([(image, _layers(image)) for image in images])


def assembled(images: Iterable[tuple[Image, Sequence[Layer]]]) -> bytes:
    """The tarball of an OCI layout with these images of these layers. Layers without a blob are named, and not in it."""
    blobs: dict[str, bytes] = {}
    manifests = []
    for image, layers in images:
        config = config_of(image, layers)
        manifest = _json(
            {
                "schemaVersion": 2,
                "mediaType": f"{MEDIA}.manifest.v1+json",
                "config": _descriptor("config.v1+json", config),
                "layers": [
                    {
                        "mediaType": f"{MEDIA}.layer.v1.tar+gzip",
                        "digest": each.digest,
                        "size": each.size,
                    }
                    for each in layers
                ],
            }
        )
        blobs |= {each.digest: each.blob for each in layers if each.blob is not None}
        blobs |= {_digest(blob): blob for blob in (config, manifest)}
        for name in image.names:
            annotations = {
                "io.containerd.image.name": name,
                "org.opencontainers.image.ref.name": name.rpartition(":")[2],
            }
            manifests.append(
                _descriptor("manifest.v1+json", manifest)
                | {"platform": {"architecture": ARCHITECTURE, "os": "linux"}, "annotations": annotations}
            )
    index = {"schemaVersion": 2, "mediaType": f"{MEDIA}.index.v1+json", "manifests": manifests}
    files = {"oci-layout": _json({"imageLayoutVersion": "1.0.0"}), "index.json": _json(index)}
    files |= {"blobs/" + digest.replace(":", "/"): blob for digest, blob in blobs.items()}
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for directory in ("blobs", "blobs/sha256"):
            _add(archive, Entry(directory))
        for name, content in sorted(files.items()):
            _add(archive, Entry(name, content, mode=0o644))
    return made.getvalue()


ACCOUNTS = (
    Entry("etc"),
    Entry(
        "etc/passwd", b"root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n", mode=0o644
    ),
    Entry("etc/group", b"root:x:0:\nnogroup:x:65534:\n", mode=0o644),
)


def pause(program: bytes) -> Image:
    """What holds a pod's namespaces."""
    return Image(
        (PAUSE,),
        (Entry("pause", program),),
        entrypoint=("/pause", "-P"),
        user="65535:65535",
        labels={"source": "catatonit"},
    )


def busybox(program: bytes, applets: Iterable[str]) -> Image:
    """A shell and a few hundred tools, each a link to the one program."""
    links = [Entry(f"bin/{name}", target="busybox", mode=0o777) for name in applets if name != "busybox"]
    return Image(
        tuple(f"{BUSYBOX}:{version}" for version in BUSYBOX_VERSIONS),
        (
            *ACCOUNTS,
            Entry("bin"),
            Entry("bin/busybox", program),
            *links,
            Entry("root", mode=0o700),
            Entry("tmp", mode=0o1777),
            Entry("home"),
            Entry("var"),
            Entry("var/www"),
            Entry("usr"),
            Entry("usr/bin"),
            Entry("usr/bin/env", target="../../bin/env", mode=0o777),
            Entry("usr/sbin"),
            Entry("sbin", target="bin", mode=0o777),
        ),
        command=("sh",),
    )


def digest() -> str:
    """Of what decides how images are made, beside the programs that go into them."""
    return hashlib.sha256(Path(__file__).read_bytes()).hexdigest()


def packed(root: Path) -> bytes:
    """The tarball with all images, made from the programs below a root directory."""
    pause_program, shell = (root / "usr/bin" / name for name in ("catatonit", "busybox"))
    applets = run([str(shell), "--list"], 20).split()
    return layout([pause(pause_program.read_bytes()), busybox(shell.read_bytes(), applets)])


def bundle(say: Say = print, store: Path = STORE) -> Path:
    """The tarball with all images, made from the programs of the machine image, which is built if it is not there."""
    root = directory(container(), say, store)
    programs = [(root / "usr/bin" / name).read_bytes() for name in ("catatonit", "busybox")]
    recipe = hashlib.sha256(
        b"".join(hashlib.sha256(part).digest() for part in (*programs, Path(__file__).read_bytes()))
    )
    path = store / f"containers-{recipe.hexdigest()[:16]}.tar"
    return once(path, lambda building: write(building, packed(root), 0o644), store)
