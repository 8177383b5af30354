"""Images of machines: built once with mmdebstrap, kept under the digest of their recipe, never changed afterwards.

A directory ``<store>/<digest>/`` appears complete, by a rename, or not at all. Two builders at once wait for each other.
Packages come from where this host's apt gets Debian's, and are verified with Debian's archive keys, never trusted blindly.
"""

import fcntl
import os
import shlex
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from kybern.machines.errors import MachineError
from kybern.machines.recipe import Recipe, tree

STORE = Path("/var/lib/kybern/images")
# Debian signs a release with its own key and its predecessor's: a host one release behind verifies it, too.
KEYRINGS = tuple(
    Path("/usr/share/keyrings") / name
    for name in ("debian-archive-keyring.gpg", "debian-archive-keyring.pgp")
)
SIZE_NEEDED = 2048  # MiB, while building
TIMEOUT = 1800
SAYS = "kybern: "
SHOWN = 80  # characters of a command line

type Say = Callable[[str], None]
_in_process = threading.Lock()


@contextmanager
def lock(store: Path) -> Iterator[None]:
    """One builder at a time: the second finds what the first has made.

    The file keeps other processes out. It would stop a whole process that has several hosts in hand, the one that builds
    among them, so they queue for their own lock first: under pyinfra that one is gevent's, and lets the others work.
    """
    store.mkdir(parents=True, exist_ok=True)
    with _in_process, (store / ".lock").open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            say(waits(file.read(), store))
            fcntl.flock(file, fcntl.LOCK_EX)
        file.truncate(0)
        file.write(f"{os.getpid()} {datetime.now(UTC):%H:%M:%S} {shlex.join(sys.orig_argv[1:])[:SHOWN]}\n")
        file.flush()
        yield


def waits(note: str, store: Path) -> str:
    """What is said by one that has to wait, from what the other one has written. Pure."""
    match note.strip().split(" ", 2):
        case [pid, since, words]:
            return f"waits for process {pid}, which builds in {store} since {since} UTC: {words}"
        case _:
            return f"waits for another process, which builds in {store}"


def say(text: str) -> None:
    """A line for whoever runs this, which ``kybern.cli.deploys`` finds among those of pyinfra."""
    sys.stderr.write(f"{SAYS}{text}\n")
    sys.stderr.flush()


def run(arguments: list[str], timeout: float = TIMEOUT) -> str:
    """A command's output; its last words when it fails."""
    try:
        done = subprocess.run(arguments, check=False, capture_output=True, text=True, timeout=timeout)
    except FileNotFoundError as error:
        raise MachineError(
            f"{arguments[0]} is not installed; run 'make setup', or install the package that has it"
        ) from error
    except subprocess.TimeoutExpired as error:
        raise MachineError(f"{shlex.join(arguments[:3])} did not end within {timeout:.0f} s") from error
    if done.returncode:
        last = [line for line in (done.stderr or done.stdout).splitlines() if line.strip()][-5:]
        raise MachineError(
            f"{shlex.join(arguments[:3])} failed with status {done.returncode}: " + " | ".join(last)
        )
    return done.stdout


def sources(suite: str, targets: str, keyring: Path | None) -> list[str]:
    """Lines for sources.list, from apt's own list of where this host gets Debian's packages.

    ``targets`` are lines "URI|RELEASE|ORIGIN". A host of another distribution has none of Debian's: an empty list makes
    mmdebstrap take the mirror that it knows itself.
    """
    signed = f"[signed-by={keyring}] " if keyring else ""
    found = set()
    for line in targets.splitlines():
        uri, release, origin = line.split("|")
        if origin == "Debian" and "backports" not in release:
            _, dash, pocket = release.partition("-")
            if not dash or pocket in ("updates", "security"):
                found.add((uri, suite + dash + pocket))
    return [f"deb {signed}{uri} {release} main" for uri, release in sorted(found)]


def apt_sources(suite: str) -> list[str]:
    targets = run(
        ["apt-get", "indextargets", "--format", "$(REPO_URI)|$(RELEASE)|$(ORIGIN)", "Created-By: Packages"],
        60,
    )
    keyring = next((path for path in KEYRINGS if path.exists()), None)
    if keyring is None:
        raise MachineError(
            "no key verifies Debian's packages on this host; install the package debian-archive-keyring"
        )
    return sources(suite, targets, keyring)


def command(recipe: Recipe, root: Path, lines: list[str]) -> list[str]:
    """The whole build, as one call of mmdebstrap."""
    excludes = [f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in recipe.excluded]
    copies = [f'cp -r --preserve=mode {shlex.quote(str(tree(name)))}/. "$1"/' for name in recipe.trees]
    return [
        "mmdebstrap",
        "--quiet",
        "--variant=minbase",
        "--mode=root",
        "--format=directory",
        "--include=" + ",".join(recipe.packages),
        *excludes,
        *(f"--essential-hook={step}" for step in copies),
        *(f"--customize-hook={step}" for step in recipe.steps),
        recipe.suite,
        str(root),
        *lines,
    ]


def offered_by(folder: Path) -> str:
    """The line of sources.list for a directory that is a repository of packages, which was verified file by file."""
    return f"deb [trusted=yes] copy:{folder.absolute()} ./"


def directory(recipe: Recipe, say: Say, store: Path = STORE, offered: Path | None = None) -> Path:
    """The root directory of an image, built if it is not there; of the packages in ``offered``, if that is given."""

    def build(building: Path) -> None:
        say(
            f"building the machine image {recipe.digest} (Debian {recipe.suite}): this takes a minute or two, once"
        )
        lines = [offered_by(offered)] if offered else apt_sources(recipe.suite)
        run(command(recipe, building, lines))

    return once(store / recipe.digest / "root", build, store)


def once(path: Path, build: Callable[[Path], None], store: Path = STORE) -> Path:
    """A path of the store, made completely by ``build`` at a place beside it and then renamed, if it is not there."""
    if path.exists():
        return path
    with lock(store):
        if path.exists():
            return path
        free = shutil.disk_usage(store).free // 2**20
        if free < SIZE_NEEDED:
            raise MachineError(
                f"{store} has {free} MiB free, and an image needs {SIZE_NEEDED}; make room there"
            )
        path.parent.mkdir(exist_ok=True)
        building = path.with_name(f".building-{path.name}")
        if building.is_dir():
            shutil.rmtree(building)
        building.unlink(missing_ok=True)
        build(building)
        os.sync()
        building.rename(path)
    return path


def existing(path: Path) -> Path:
    """The nearest directory that exists: where a store will be made."""
    while not path.exists():
        path = path.parent
    return path
