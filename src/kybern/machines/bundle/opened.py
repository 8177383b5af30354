"""A bundle that is there: what is taken out of it has the checksum that its lock says, or is not taken.

A checksum is taken once for each process and state of a file.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import file_digest
from pathlib import Path

from kybern.machines.bundle import lock
from kybern.machines.bundle.lock import Artefact, Lock, Part
from kybern.machines.errors import MachineError

AGAIN = "where there is a network, make it whole with: kybern bundle TOPOLOGY {}"
_sums: dict[tuple[Path, int, int], str] = {}


@dataclass(frozen=True, slots=True)
class Bundle:
    """A directory and its lock."""

    directory: Path
    lock: Lock

    def faults(self, *parts: str) -> Iterator[str]:
        """What is wrong with the files of these parts, or of all; each names its artefact."""
        for part in self.lock.parts:
            if not parts or part.name in parts:
                for one in part.artefacts:
                    if said := fault(self.directory, one):
                        yield said

    def part(self, name: str) -> Part:
        """Raises MachineError when the bundle was made without it."""
        found = self.lock.part(name)
        if found is None:
            raise self.error(f'it has no part "{name}"')
        return found

    def files(self, name: str) -> tuple[Path, ...]:
        """The files of a part, in the lock's order, verified. Raises MachineError for the first that is not as locked."""
        part = self.part(name)
        for one in part.artefacts:
            if said := fault(self.directory, one):
                raise self.error(said)
        return tuple(self.directory / one.path for one in part.artefacts)

    def file(self, path: str) -> Path:
        """One file, verified. Raises MachineError when the lock has none of this name, or it is not as the lock says."""
        for one in self.lock.artefacts:
            if one.path == path:
                if said := fault(self.directory, one):
                    raise self.error(said)
                return self.directory / path
        raise self.error(f"its lock has no {path}")

    def folder(self, name: str) -> Path:
        """The directory of a part, all of it verified."""
        return self.files(name)[0].parent

    def error(self, said: str) -> MachineError:
        return MachineError(
            f"cannot take from the bundle {self.directory}: {said}; {AGAIN.format(self.directory)}"
        )


def fault(directory: Path, one: Artefact) -> str:
    """What is wrong with an artefact's file; nothing when it is as the lock says."""
    path = directory / one.path
    try:
        status = path.stat()
    except OSError:
        return f"{one.path} is missing"
    if status.st_size != one.size:
        return f"{one.path} has {status.st_size} bytes, and the lock says {one.size}"
    if sum_of(path) != one.sha256:
        return f"{one.path} has another checksum than the lock says"
    return ""


def sum_of(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    status = path.stat()
    key = (path.absolute(), status.st_size, status.st_mtime_ns)
    if key not in _sums:
        with path.open("rb") as stream:
            _sums[key] = file_digest(stream, "sha256").hexdigest()
    return _sums[key]


def opened(directory: Path) -> Bundle:
    """Raises MachineError when there is no bundle."""
    where = directory / lock.NAME
    try:
        content = where.read_text()
    except OSError as error:
        raise MachineError(
            f"there is no bundle in {directory} ({error.strerror}: {where.name}); make it where there is a network, "
            f"with: kybern bundle TOPOLOGY {directory}"
        ) from error
    except UnicodeDecodeError as error:
        raise MachineError(f"{where}: not a lock file of a bundle: it is not text") from error
    return Bundle(directory, lock.parsed(content, str(where)))
