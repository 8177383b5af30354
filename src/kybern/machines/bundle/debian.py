"""Debian packages with all that they need, as a flat repository that apt can use from a directory.

apt of this host resolves and verifies, on a state of its own in which nothing is installed: so the closure is
complete, whatever a machine has. The index that comes out names the same checksums that Debian's signature covers.
"""

import re
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from urllib.parse import unquote

from kybern.machines.bundle.lock import Artefact
from kybern.machines.bundle.opened import sum_of
from kybern.machines.errors import MachineError
from kybern.machines.images import Say, run
from kybern.machines.state import write

HELPER = "/usr/lib/apt/apt-helper"
INDEX, RELEASE = "Packages", "Release"
EPOCH = "Thu, 01 Jan 1970 00:00:00 UTC"
AT_ONCE = 20  # files of one call: an interrupted run has lost these at the most
FETCH_SECONDS = 1800.0
QUOTED = re.compile(r"'(?P<uri>[^']+)' ")
PLAIN = re.compile(r"[^A-Za-z0-9@_+=:,.-]")


@dataclass(frozen=True, slots=True)
class Index:
    """A list of packages that apt has: where from, and its own file of it."""

    uri: str
    source: str
    file: str


@dataclass(frozen=True, slots=True)
class Archive:
    """A package's file: its paragraph of the index, and where it is fetched."""

    uri: str
    source: str
    fields: Mapping[str, str]
    paragraph: str

    @property
    def file(self) -> str:
        """A name without what a URI, a shell or an index would have to quote."""
        return PLAIN.sub("-", Path(self.fields["Filename"]).name)

    def artefact(self, part: str) -> Artefact:
        return Artefact(
            self.fields["SHA256"],
            int(self.fields["Size"]),
            f"{part}/{self.file}",
            self.fields["Package"],
            self.fields["Version"],
            self.source,
        )


def wanted_uris(printed: str) -> frozenset[str]:
    """The URIs that ``apt-get --print-uris`` would fetch."""
    return frozenset(unquote(found["uri"]) for line in printed.splitlines() if (found := QUOTED.match(line)))


def archives(index: Index, content: str, wanted: frozenset[str]) -> Iterator[Archive]:
    """The paragraphs of an index whose files are wanted."""
    for paragraph in content.split("\n\n"):
        fields = dict(
            line.split(": ", 1) for line in paragraph.splitlines() if ": " in line and line[0] != " "
        )
        uri = index.uri + fields.get("Filename", "")
        if unquote(uri) in wanted:
            yield Archive(uri, index.source, fields, paragraph.strip("\n"))


def repository(found: Sequence[Archive]) -> str:
    """The index of a flat repository with these packages."""
    paragraphs = [
        re.sub(r"(?m)^Filename: .*$", f"Filename: ./{one.file}", one.paragraph)
        for one in sorted(found, key=lambda one: one.file)
    ]
    return "\n\n".join([*paragraphs, ""])


def release(suite: str, index: bytes) -> str:
    # apt of Debian 12 takes none without a date. Ours is always the same, so that the same packages make the same bytes.
    head = f"Origin: Kybern\nSuite: {suite}\nCodename: {suite}\nDate: {EPOCH}\n"
    return f"{head}SHA256:\n {sha256(index).hexdigest()} {len(index)} {INDEX}\n"


def fetch(
    part: str, names: Sequence[str], sources: Sequence[str] | None, into: Path, say: Say
) -> list[Artefact]:
    """The packages and all that they need in ``into``, which may have some already.

    ``sources`` are lines of apt's; None for this host's own. Raises MachineError when apt does not know a
    package, or a file cannot be fetched.
    """
    with tempfile.TemporaryDirectory(prefix="kybern-apt-") as scratch:
        options = _options(Path(scratch), sources)
        found = _resolved(part, names, options)
        lacking = [one for one in found if not _there(into, one)]
        for start in range(0, len(lacking), AT_ONCE):
            group = lacking[start : start + AT_ONCE]
            say(f"fetching packages, {start + len(group)} of {len(lacking)}")
            _download(group, into, options)
    for one in lacking:
        if not _there(into, one):
            raise MachineError(f"cannot fetch {one.file}: what came is not what the index says; run it again")
    index = repository(found).encode()
    write(into / INDEX, index, 0o644)
    write(into / RELEASE, release(part.partition("-")[2], index).encode(), 0o644)
    return [*(one.artefact(part) for one in found), *(_made(part, into / name) for name in (INDEX, RELEASE))]


def _made(part: str, path: Path) -> Artefact:
    total = sum_of(path)
    return Artefact(total, path.stat().st_size, f"{part}/{path.name}", path.name, total[:12], "kybern")


def _there(into: Path, one: Archive) -> bool:
    path = into / one.file
    return path.exists() and sum_of(path) == one.fields["SHA256"]


def _options(scratch: Path, sources: Sequence[str] | None) -> list[str]:
    for place in ("state/lists/partial", "cache/archives/partial"):
        (scratch / place).mkdir(parents=True)
    (scratch / "status").touch()
    settings = [
        f"Dir::State={scratch}/state",
        f"Dir::State::status={scratch}/status",
        f"Dir::Cache={scratch}/cache",
    ]
    if sources is not None:
        (scratch / "sources.list").write_text("".join(f"{line}\n" for line in sources))
        settings += [f"Dir::Etc::SourceList={scratch}/sources.list", "Dir::Etc::SourceParts=/dev/null"]
    settings += ["Acquire::Languages=none", "APT::Sandbox::User=root", "APT::Architecture=amd64"]
    return [word for setting in settings for word in ("-o", setting)]


def _resolved(part: str, names: Sequence[str], options: Sequence[str]) -> list[Archive]:
    # A mirror that does not answer is a warning of apt's, and the lists are then those of before: here there are none.
    run(["apt-get", "-qq", *options, "update"], FETCH_SECONDS)
    shown = "$(REPO_URI)|$(ORIGIN)|$(RELEASE)|$(COMPONENT)|$(FILENAME)"
    listed = run(
        ["apt-get", *options, "indextargets", "--format", shown, "Created-By: Packages"], 60
    ).splitlines()
    if not listed:
        raise MachineError(
            f"cannot fetch the packages of {part}: apt has no list of any; see that a mirror is reached"
        )
    install = ["apt-get", "-qq", "-y", "--no-install-recommends", *options, "--print-uris", "install", *names]
    wanted = wanted_uris(run(install, 300))
    found: dict[str, Archive] = {}
    for line in listed:
        uri, origin, suite, component, file = line.split("|")
        index = Index(uri, f"{origin.lower() or 'unknown'}:{suite}/{component}".replace(" ", "-"), file)
        content = run([HELPER, *options, "cat-file", index.file], 300)
        for one in archives(index, content, wanted):
            found.setdefault(unquote(one.uri), one)
    if lost := wanted - found.keys():
        raise MachineError(f"cannot fetch {Path(min(lost)).name}: no list of apt's has its checksum")
    return sorted(found.values(), key=lambda one: one.file)


def _download(group: Iterable[Archive], into: Path, options: Sequence[str]) -> None:
    words = [
        word for one in group for word in (one.uri, str(into / one.file), f"SHA256:{one.fields['SHA256']}")
    ]
    run([HELPER, *options, "download-file", *words], FETCH_SECONDS)


def unpacked(archive: Path, into: Path) -> None:
    """The files of a package below a directory, installed nowhere."""
    run(["dpkg-deb", "-x", str(archive), str(into)], 120)
