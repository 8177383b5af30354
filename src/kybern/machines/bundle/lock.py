"""The lock file of a bundle: every artefact with checksum, size, name, version and source; pure.

A text of lines, so that a shell checks it with ``awk`` and ``sha256sum`` before there is any Python, and a person
reads what differs between two of them. Artefacts stand below the part that they belong to, together with a digest of
what was asked for, by which a later run knows that there is nothing to fetch. A source names an origin and never a
host: ``pypi:NAME``, ``debian:trixie/main``.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import PurePosixPath

from kybern.machines.errors import MachineError

NAME = "bundle.lock"
FORMAT = "# Kybern bundle, format 1"
COLUMNS = "# sha256 size path name version source"
PART = re.compile(r"# part (?P<name>[a-z][a-z0-9.-]*) (?P<inputs>[0-9a-f]{16})")
SHA256 = re.compile(r"[0-9a-f]{64}")
PATH = re.compile(r"[A-Za-z0-9][A-Za-z0-9@_+=:,.-]*(/[A-Za-z0-9@_+=:,.-]+)+")


@dataclass(frozen=True, slots=True)
class Artefact:
    """A file of the bundle: ``path`` below its directory, ``size`` in bytes."""

    sha256: str
    size: int
    path: str
    name: str
    version: str
    source: str

    @property
    def line(self) -> str:
        return f"{self.sha256} {self.size} {self.path} {self.name} {self.version} {self.source}"


@dataclass(frozen=True, slots=True)
class Part:
    """What was fetched together. ``inputs`` is the digest of what was asked for."""

    name: str
    inputs: str
    artefacts: tuple[Artefact, ...]


@dataclass(frozen=True, slots=True)
class Lock:
    """All parts, by their names."""

    parts: tuple[Part, ...] = ()

    def part(self, name: str) -> Part | None:
        return next((part for part in self.parts if part.name == name), None)

    def with_part(self, part: Part) -> "Lock":
        others = [one for one in self.parts if one.name != part.name]
        return Lock(tuple(sorted([*others, part], key=lambda one: one.name)))

    @property
    def artefacts(self) -> tuple[Artefact, ...]:
        return tuple(one for part in self.parts for one in part.artefacts)


def text(lock: Lock) -> str:
    lines = [FORMAT, COLUMNS]
    for part in lock.parts:
        lines += [f"# part {part.name} {part.inputs}"]
        lines += [one.line for one in sorted(part.artefacts, key=lambda one: one.path)]
    return "\n".join([*lines, ""])


def parsed(content: str, where: str) -> Lock:
    """Raises MachineError for what is not a lock file; ``where`` names it, and the line."""
    lines = content.splitlines()
    if not lines or lines[0] != FORMAT:
        raise MachineError(f'{where}:1: not a lock file of a bundle: it does not begin with "{FORMAT}"')
    parts: list[tuple[str, str, list[Artefact]]] = []
    for number, line in enumerate(lines[1:], 2):
        if found := PART.fullmatch(line):
            parts.append((found["name"], found["inputs"], []))
        elif not line.startswith("#"):
            if not parts:
                raise MachineError(
                    f"{where}:{number}: an artefact that belongs to no part; make the bundle anew"
                )
            parts[-1][2].append(_artefact(line, f"{where}:{number}"))
    return Lock(tuple(Part(name, inputs, tuple(artefacts)) for name, inputs, artefacts in parts))


def _artefact(line: str, where: str) -> Artefact:
    fields = line.split(" ")
    if len(fields) != 6 or not SHA256.fullmatch(fields[0]) or not fields[1].isdecimal():
        raise MachineError(
            f'{where}: "{line[:80]}" is not an artefact with its six fields; make the bundle anew'
        )
    sha256, size, path, name, version, source = fields
    if not PATH.fullmatch(path) or ".." in PurePosixPath(path).parts:
        raise MachineError(f'{where}: "{path}" is not a plain path below the bundle; make the bundle anew')
    return Artefact(sha256, int(size), path, name, version, source)


def missing_names(part: Part, names: Iterable[str]) -> tuple[str, ...]:
    """Those of the names that no artefact of the part bears."""
    known = {one.name for one in part.artefacts}
    return tuple(sorted(set(names) - known))
