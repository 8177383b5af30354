"""What a machine's files shall be, as data: pure, so that what a role ships can be tested without a machine.

An entry is a file, a directory or a link with its owner. A ``Service`` is a systemd unit together with the files that
decide how it runs: their digest goes into a drop-in of the unit, and the unit notes it in ``/run/kybern`` whenever it
starts, whoever starts it. A unit whose note differs from the wanted digest runs with something old. So a deploy that
dies between shipping a file and restarting is finished by the next one, a reboot or a crash needs no restart, and
nothing has to be remembered on the operator's side.

Paths are plain (no blanks, no quotes, nothing a shell would read), which is checked once, here.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from hashlib import sha256
from pathlib import Path, PurePosixPath

PLAIN_PATH = re.compile(r"(/[A-Za-z0-9@_+=:,.-]+)+")
PLAIN_NAME = re.compile(r"[a-z_][a-z0-9_-]*")
MODE = re.compile(r"0?[0-7]{3,4}")


@dataclass(frozen=True, slots=True)
class Entry:
    """Anything at a path that somebody owns."""

    path: str
    _: KW_ONLY
    mode: str = "644"
    user: str = "root"
    group: str = ""

    def __post_init__(self) -> None:
        if not PLAIN_PATH.fullmatch(self.path) or ".." in PurePosixPath(self.path).parts:
            raise ValueError(f"{self.path!r} is not a plain absolute path")
        # pyinfra's own operations read 0o640 as decimal 416 and set r----xrw-.
        if not isinstance(self.mode, str) or not MODE.fullmatch(self.mode):
            raise TypeError(f'mode of {self.path} is {self.mode!r}: write it as a string, such as "640"')
        object.__setattr__(self, "mode", self.mode.lstrip("0").rjust(3, "0"))
        object.__setattr__(self, "group", self.group or self.user)
        for name in (self.user, self.group):
            if not PLAIN_NAME.fullmatch(name):
                raise ValueError(f"{name!r} owns {self.path}, and is not a user's or group's name")

    @property
    def owner(self) -> str:
        return f"{self.user}:{self.group}"


@dataclass(frozen=True, slots=True)
class File(Entry):
    """A file with its content. The content of a ``secret`` one is never shown, and nobody but its owners reads it."""

    content: bytes = field(repr=False)
    _: KW_ONLY
    secret: bool = False

    def __post_init__(self) -> None:
        super(File, self).__post_init__()
        if self.secret and int(self.mode, 8) & 0o007:
            raise ValueError(f"{self.path} is secret, and mode {self.mode} lets everybody at it")

    @property
    def digest(self) -> str:
        return sha256(self.content).hexdigest()


@dataclass(frozen=True, slots=True)
class Upload(Entry):
    """A big file of this computer, sent as it is; it is not secret. Its digest is taken once, when it is listed."""

    source: Path
    _: KW_ONLY
    digest: str = field(init=False, default="")

    def __post_init__(self) -> None:
        super(Upload, self).__post_init__()
        object.__setattr__(self, "digest", _digest_of(self.source))


@dataclass(frozen=True, slots=True)
class Directory(Entry):
    _: KW_ONLY
    mode: str = "755"


@dataclass(frozen=True, slots=True)
class Link(Entry):
    """A symbolic link. It has no mode of its own."""

    target: str

    def __post_init__(self) -> None:
        super(Link, self).__post_init__()
        if not re.fullmatch(r"[A-Za-z0-9@_+=:,./-]+", self.target):
            raise ValueError(f"{self.path} points to {self.target!r}, which is not a plain path")


@dataclass(frozen=True, slots=True)
class Found:
    """What is at a path of a machine. ``kind`` is find's letter: f, d, l, or another."""

    kind: str
    mode: str
    user: str
    group: str
    target: str = ""
    digest: str = ""


@dataclass(frozen=True, slots=True)
class Service:
    """A unit, and the files whose change makes it restart.

    ``reads`` are files of other roles that it reads at its start only. ``alive`` is a command that fails when the unit
    says active and yet its work is undone (rules that somebody flushed). ``wait`` is whether starting it waits until it
    says it is ready. ``pod`` is the static pod whose place it takes, where there is one.
    """

    unit: str
    inputs: tuple[File, ...]
    alive: str = ""
    wait: bool = True
    reads: tuple[File, ...] = ()
    pod: str = ""

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[A-Za-z0-9@_-]+\.(service|timer|socket|path)", self.unit):
            raise ValueError(f"{self.unit!r} is not the full name of a unit")

    @property
    def digest(self) -> str:
        total = sha256()
        for file in sorted((*self.inputs, *self.reads), key=lambda file: file.path):
            total.update(f"{file.path} {file.mode} {file.owner} {file.digest}\n".encode())
        return total.hexdigest()

    @property
    def stamp(self) -> str:
        return f"/run/kybern/{self.unit}.sha256"

    @property
    def files(self) -> tuple[File, ...]:
        """The inputs, and the drop-in that notes their digest."""
        # The note is made before the start: should a file change in between, the note is the older of the two, and
        # the unit is restarted once too often rather than once too little. "+" runs it outside of the sandbox.
        note = f"mkdir -p /run/kybern && echo {self.digest} >{self.stamp}"
        text = (
            "# Written by Kybern: notes what the unit was started with, so that a deploy restarts it\n"
            f"# when that has changed, and only then.\n[Service]\nExecStartPre=+/bin/sh -c '{note}'\n"
        )
        return (*self.inputs, File(f"/etc/systemd/system/{self.unit}.d/kybern.conf", text.encode()))


def missing(wanted: Iterable[Entry], found: Mapping[str, Found]) -> tuple[Entry, ...]:
    """The entries that are not on the machine as they should be, parents before what is in them."""
    return tuple(sorted((entry for entry in wanted if not _same(entry, found.get(entry.path))), key=_path))


def surplus(
    wanted: Iterable[Entry], absent: Iterable[str], prune: Sequence[str], found: Mapping[str, Found]
) -> tuple[str, ...]:
    """What has to go: named in ``absent``, or below a directory of ``prune`` and not wanted."""
    paths = {entry.path for entry in wanted}
    kept = paths | {str(parent) for path in paths for parent in PurePosixPath(path).parents}
    below = (path for path in found if path not in kept and any(path.startswith(f"{top}/") for top in prune))
    return tuple(sorted({path for path in absent if path in found} | set(below)))


def unique(entries: Iterable[Entry]) -> tuple[Entry, ...]:
    """The entries, each path once; two different ones for a path are a mistake of the role."""
    known: dict[str, Entry] = {}
    for entry in entries:
        if known.setdefault(entry.path, entry) != entry:
            raise ValueError(f"{entry.path} is listed twice, differently")
    return tuple(known.values())


def _path(entry: Entry) -> str:
    return entry.path


def _same(entry: Entry, found: Found | None) -> bool:
    if found is None or (found.user, found.group) != (entry.user, entry.group):
        return False
    match entry:
        case Link():
            return found.kind == "l" and found.target == entry.target
        case Directory():
            return found.kind == "d" and found.mode == entry.mode
        case File() | Upload():
            return found.kind == "f" and found.mode == entry.mode and found.digest == entry.digest
        case _:
            raise TypeError(f"{entry.path} is neither a file, a directory nor a link")


_digests: dict[tuple[Path, int, int], str] = {}


def _digest_of(source: Path) -> str:
    status = source.stat()
    key = (source, status.st_size, status.st_mtime_ns)
    if key not in _digests:
        with source.open("rb") as stream:
            total = sha256()
            while block := stream.read(1 << 20):
                total.update(block)
        _digests[key] = total.hexdigest()
    return _digests[key]
