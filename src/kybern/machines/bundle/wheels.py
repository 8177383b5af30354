"""Python packages of the lock files, as files that pip and uv install from without an index.

pip fetches them, from where this host's pip gets any, and lets none by whose checksum is not in the lock files.
"""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from kybern.machines.bundle.lock import Artefact
from kybern.machines.bundle.opened import sum_of
from kybern.machines.errors import MachineError
from kybern.machines.images import Say, run
from kybern.machines.state import home

# For the machines, and for whoever deploys: both are of those that we support.
PYTHONS = ("3.12", "3.13")
LOCKS = ("build", "operator", "machine")
PLATFORMS = (*(f"manylinux_2_{minor}_x86_64" for minor in (28, 27, 26, 24, 17, 12, 5)), "manylinux2014_x86_64",
             "manylinux1_x86_64", "linux_x86_64")  # fmt: skip
FETCH_SECONDS = 1800.0
HASH = re.compile(r"--hash=sha256:(?P<sum>[0-9a-f]{64})")
FILE = re.compile(r"(?P<name>[A-Za-z0-9_.-]+?)-(?P<version>[0-9][A-Za-z0-9_.+!]*)(-.*\.whl|\.tar\.gz|\.zip)")


def named(file: str) -> tuple[str, str]:
    """Name and version of a package, from its file's."""
    found = FILE.fullmatch(file)
    if found is None:
        raise MachineError(f"{file} is not the name of a Python package's file")
    return re.sub(r"[-_.]+", "-", found["name"]).lower(), found["version"]


def sums(content: str) -> Iterator[str]:
    """The checksums that a lock file allows."""
    for found in HASH.finditer(content):
        yield found["sum"]


def fetch(part: str, locks: Sequence[Path], into: Path, say: Say) -> list[Artefact]:
    """All packages of the lock files for all Pythons in ``into``, which may have some already. Raises MachineError."""
    pip = home() / "uv/bin/python"
    if not pip.exists():
        raise MachineError(f"cannot fetch Python packages: {pip} is not there; run scripts/setup")
    for lock in locks:
        for python in PYTHONS:
            say(f"fetching Python packages of {lock} for Python {python}")
            run([str(pip), *_words(lock, python, into)], FETCH_SECONDS)
    allowed = {one for lock in locks for one in sums(lock.read_text())}
    return [one for path in sorted(into.iterdir()) if (one := _artefact(part, path)).sha256 in allowed]


def _words(lock: Path, python: str, into: Path) -> list[str]:
    platforms = [word for platform in PLATFORMS for word in ("--platform", platform)]
    return ["-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-input", "--no-deps", "--require-hashes",
            "--python-version", python, "--implementation", "cp", *platforms,
            "--requirement", str(lock), "--dest", str(into)]  # fmt: skip


def _artefact(part: str, path: Path) -> Artefact:
    name, version = named(path.name)
    return Artefact(sum_of(path), path.stat().st_size, f"{part}/{path.name}", name, version, f"pypi:{name}")


def offline(folder: Path) -> tuple[str, ...]:
    """What tells uv and pip to take packages from there, and from nowhere else."""
    return "--no-index", "--find-links", str(folder.absolute())
