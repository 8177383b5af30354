"""Images of machines: built once with mmdebstrap, kept under the digest of their recipe, never changed afterwards.

A directory ``<store>/<digest>/`` appears complete, by a rename, or not at all. Two builders at once wait for each other.
Packages come from where this host's apt gets Debian's, and are verified with Debian's archive keys, never trusted blindly.
"""

import fcntl
import os
import shlex
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
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

type Say = Callable[[str], None]


@contextmanager
def lock(store: Path) -> Iterator[None]:
    """One builder at a time: the second finds what the first has made."""
    store.mkdir(parents=True, exist_ok=True)
    with (store / ".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


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
    hooks = [
        'chroot "$1" systemctl --quiet disable ' + " ".join(recipe.disabled) + " 2>/dev/null || true",
        f'cp -r --preserve=mode {shlex.quote(str(tree()))}/. "$1"/',
        # Each machine gets keys and an identity of its own.
        'rm -f "$1"/etc/ssh/ssh_host_* "$1"/var/lib/dbus/machine-id; : >"$1"/etc/machine-id',
        'rm -rf "$1"/usr/share/locale "$1"/var/cache/apt/* "$1"/var/lib/apt/lists/* "$1"/var/log/*.log',
        'mkdir -p "$1"/var/log/journal',
    ]
    if recipe.enabled:
        hooks.append('chroot "$1" systemctl --quiet enable ' + " ".join(recipe.enabled))
    return [
        "mmdebstrap",
        "--quiet",
        "--variant=minbase",
        "--mode=root",
        "--format=directory",
        "--include=" + ",".join(recipe.packages),
        *excludes,
        *(f"--customize-hook={hook}" for hook in hooks),
        recipe.suite,
        str(root),
        *lines,
    ]


def directory(recipe: Recipe, say: Say, store: Path = STORE) -> Path:
    """The root directory of an image, built if it is not there."""
    root = store / recipe.digest / "root"
    if root.exists():
        return root
    with lock(store):
        if root.exists():
            return root
        free = shutil.disk_usage(store).free // 2**20
        if free < SIZE_NEEDED:
            raise MachineError(
                f"{store} has {free} MiB free, and an image needs {SIZE_NEEDED}; make room there"
            )
        say(
            f"building the machine image {recipe.digest} (Debian {recipe.suite}): this takes a minute or two, once"
        )
        building = store / f".building-{recipe.digest}"
        shutil.rmtree(building, ignore_errors=True)
        building.mkdir(mode=0o755)
        run(command(recipe, building / "root", apt_sources(recipe.suite)))
        (store / recipe.digest).mkdir(exist_ok=True)
        building.joinpath("root").rename(root)
        building.rmdir()
        os.sync()
    return root


def existing(path: Path) -> Path:
    """The nearest directory that exists: where a store will be made."""
    while not path.exists():
        path = path.parent
    return path
