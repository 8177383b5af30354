"""Bring a directory to be a whole bundle: fetch what the lock does not have, or has and the directory has not.

A part is gathered in ``.fetching/PART`` beside its place, where a run that was interrupted finds it again; its files
are then moved into their place one by one, and the lock that names them is replaced last. So a directory is at every
moment what its lock says, or its lock says what is missing.
"""

import os
import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from kybern.machines import images, oci, recipe
from kybern.machines.bundle import contents, debian, lock, wheels
from kybern.machines.bundle.lock import Artefact, Lock, Part
from kybern.machines.bundle.opened import Bundle, fault, opened, sum_of
from kybern.machines.errors import MachineError
from kybern.machines.images import Say, run
from kybern.machines.state import write
from kybern.machines.topology import Cluster

REQUIREMENTS = Path("requirements")
FETCHING = ".fetching"
MIRROR = "KYBERN_DEBIAN_MIRROR"

type Fetch = Callable[[Path], Sequence[Artefact]]


@dataclass(frozen=True, slots=True)
class Wanted:
    """A part that has to be there: the digest of what is asked for, and what fetches it into a directory."""

    name: str
    inputs: str
    fetch: Fetch


@dataclass(frozen=True, slots=True)
class Made:
    """A bundle as it is now, and how many files and bytes of it are new."""

    bundle: Bundle
    files: int
    size: int


def make(cluster: Cluster, directory: Path, say: Say, newest: bool) -> Made:
    """The bundle of a topology, whole. ``newest`` asks Debian again for what is there. Raises MachineError."""
    directory.mkdir(parents=True, exist_ok=True)
    found = opened(directory).lock if (directory / lock.NAME).exists() else Lock()
    begun = {one.path: one.sha256 for one in found.artefacts}
    for wanted in outside(cluster, say):
        found = brought(directory, found, wanted, newest=newest)
    # The images are made of programs of the packages.
    found = brought(directory, found, _images(Bundle(directory, found)), newest=False)
    shutil.rmtree(directory / FETCHING, ignore_errors=True)
    new = [one for one in found.artefacts if begun.get(one.path) != one.sha256]
    return Made(Bundle(directory, found), len(new), sum(one.size for one in new))


def outside(cluster: Cluster, say: Say) -> tuple[Wanted, ...]:
    """The parts that come from elsewhere."""
    locks = [REQUIREMENTS / f"{name}.lock" for name in wheels.LOCKS]
    own = contents.operator(suite_here(Path("/etc/os-release").read_text()))
    names, tools = contents.asked(cluster), contents.listed((REQUIREMENTS / "operator.packages").read_text())

    def of_machines(into: Path) -> Sequence[Artefact]:
        return debian.fetch(contents.MACHINES, names, sources(), into, say)

    return (
        Wanted(contents.MACHINES, contents.digest(names), of_machines),
        Wanted(own, contents.digest(tools), lambda into: debian.fetch(own, tools, None, into, say)),
        Wanted(
            contents.WHEELS,
            contents.digest([*wheels.PYTHONS, *(path.read_text() for path in locks)]),
            lambda into: wheels.fetch(contents.WHEELS, locks, into, say),
        ),
    )


def sources() -> list[str]:
    """Lines of apt's for the machines' packages: this host's mirror of Debian, or the one that MIRROR names.

    Raises MachineError for a host of another distribution that names none.
    """
    if found := images.apt_sources(recipe.SUITE):
        return found
    keyring = next(path for path in images.KEYRINGS if path.exists())
    if not (mirror := os.environ.get(MIRROR)):
        raise MachineError(
            f"cannot fetch packages of Debian: this host's apt knows no mirror of it; name one in {MIRROR}"
        )
    return [
        f"deb [signed-by={keyring}] {mirror} {suite} main"
        for suite in (recipe.SUITE, f"{recipe.SUITE}-updates")
    ]


def suite_here(release: str) -> str:
    """The code name of a distribution's release, of its os-release."""
    for line in release.splitlines():
        key, _, value = line.partition("=")
        if key == "VERSION_CODENAME":
            return value.strip('"')
    raise MachineError("/etc/os-release does not tell VERSION_CODENAME: use Debian or Ubuntu")


def _images(bundle: Bundle) -> Wanted:
    programs = [one for one in bundle.part(contents.MACHINES).artefacts if one.name in contents.PROGRAMS]

    def fetch(into: Path) -> Sequence[Artefact]:
        with tempfile.TemporaryDirectory(prefix="kybern-images-") as scratch:
            root = Path(scratch)
            for one in programs:
                debian.unpacked(bundle.directory / one.path, root)
            write(into / oci.ARCHIVE, oci.packed(root), 0o644)
        path = into / oci.ARCHIVE
        total = sum_of(path)
        version = next(one.version for one in programs if one.name == contents.PROGRAMS[0])
        return [
            Artefact(
                total, path.stat().st_size, f"{contents.IMAGES}/{path.name}", path.stem, version, "kybern"
            )
        ]

    return Wanted(contents.IMAGES, contents.digest([*(one.sha256 for one in programs), oci.digest()]), fetch)


def brought(directory: Path, found: Lock, wanted: Wanted, *, newest: bool) -> Lock:
    """The lock with this part as it is wanted, and the files that it names."""
    known = found.part(wanted.name)
    good = [one for one in known.artefacts if not fault(directory, one)] if known else []
    stays = known is not None and known.inputs == wanted.inputs and not newest
    if known is not None and stays and len(good) == len(known.artefacts):
        return found
    staged = directory / FETCHING / wanted.name
    staged.mkdir(parents=True, exist_ok=True)
    for one in good:
        beside = staged / Path(one.path).name
        if not beside.exists():
            os.link(directory / one.path, beside)
    artefacts = tuple(wanted.fetch(staged))
    return _placed(directory, found, Part(wanted.name, wanted.inputs, artefacts), staged)


def _placed(directory: Path, found: Lock, part: Part, staged: Path) -> Lock:
    place = directory / part.name
    place.mkdir(exist_ok=True)
    for one in part.artefacts:
        (staged / Path(one.path).name).replace(directory / one.path)
    run(["sync", "--file-system", str(place)], 300)
    lasting = found.with_part(part)
    write(directory / lock.NAME, lock.text(lasting).encode(), 0o644)
    kept = {Path(one.path).name for one in part.artefacts}
    for path in place.iterdir():
        if path.name not in kept:
            path.unlink()
    shutil.rmtree(staged)
    return lasting
