"""The release that goes to the machines: our package, and what it depends on, as two archives. Made on the operator's side.

Dependencies come from ``requirements/machine.lock`` with their hashes checked, resolved for the machine's own Python; they
change rarely and are large. Our package changes often and is small. Each archive bears the digest of all that went into it,
unpacks into a directory of that name, and is made once. Modules are compiled here, when this Python is the machine's: a
daemon starts in half the time, and no machine compiles the same again.
"""

import compileall
import gzip
import io
import os
import py_compile
import shutil
import subprocess
import sys
import tarfile
import tempfile
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from threading import Lock

from kybern.machines import images
from kybern.machines.bundle import contents
from kybern.machines.bundle.opened import Bundle
from kybern.machines.bundle.wheels import offline
from kybern.machines.errors import MachineError
from kybern.machines.state import home

ROOT = Path(__file__).parent.parent
LOCK = ROOT / "requirements/machine.lock"
TARGET = "/opt/kybern"
PATIENCE = 900  # seconds for one run of uv, which may download a hundred megabytes
# Never imported by a daemon, and a third of the whole.
NEEDLESS = ("tests", "test", "testing", "__pycache__", "include", "_examples", "examples")
KEPT = ("numpy/testing", "numpy/_core/tests/_natype.py")


class CannotBuild(Exception):
    """The release could not be made; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Archive:
    """A tar.gz on this side, and the directory on a machine that it becomes."""

    source: Path
    target: str


@dataclass(frozen=True, slots=True)
class Release:
    """Both archives, and where the programs will be."""

    dependencies: Archive
    package: Archive

    @property
    def programs(self) -> str:
        return f"{self.package.target}/bin"


# pyinfra prepares all hosts at once: each asks for the release, one makes it, and all get the same.
_making = Lock()
_made: dict[str, Release] = {}


def release(python: str, bundle: Bundle | None = None) -> Release:
    """The release for machines with this Python ("3.13"); made if it is not there yet, and the same for a whole run.

    With a bundle it is made of that one's packages, and of nothing that is elsewhere.
    """
    with _making:
        if python not in _made:
            _made[python] = _release(python, bundle)
        return _made[python]


def _release(python: str, bundle: Bundle | None) -> Release:
    store = home() / "release"
    store.mkdir(mode=0o700, parents=True, exist_ok=True)
    dependencies = _archive(
        store, "dependencies", _digest(python, [LOCK]), lambda to: _dependencies(to, python, _from(bundle))
    )
    inputs = [ROOT / "pyproject.toml", *sorted(_sources())]
    package = _archive(
        store,
        "package",
        _digest(python + dependencies.target, inputs),
        lambda to: _package(to, python, dependencies.target, _from(bundle)),
    )
    return Release(dependencies, package)


def _sources() -> Iterator[Path]:
    for path in (ROOT / "src/kybern").rglob("*"):
        if path.is_file() and "__pycache__" not in path.parts:
            yield path


def _digest(python: str, inputs: list[Path]) -> str:
    total = sha256(f"{python} {sys.version_info[:2]}\n".encode())
    total.update(Path(__file__).read_bytes())
    for path in inputs:
        total.update(f"{path.relative_to(ROOT)} {sha256(path.read_bytes()).hexdigest()}\n".encode())
    return total.hexdigest()[:16]


def _archive(store: Path, name: str, digest: str, fill: Callable[[Path], None]) -> Archive:
    source = store / f"{name}-{digest}.tar.gz"
    if not source.exists():
        # Another deploy may make the same at this moment: it is waited for.
        with images.lock(store):
            if not source.exists():
                images.say(f"makes the release's {name}: {source}")
                _make(source, fill)
    return Archive(source, f"{TARGET}/{name}-{digest}")


def _make(source: Path, fill: Callable[[Path], None]) -> None:
    with tempfile.TemporaryDirectory(dir=source.parent, prefix=".build-") as directory:
        root = Path(directory) / "root"
        root.mkdir()
        fill(root)
        fresh = Path(directory) / source.name
        fresh.write_bytes(_packed(root))
        fresh.replace(source)


def _packed(root: Path) -> bytes:
    """The same tree gives the same bytes."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for path in sorted(root.rglob("*")):
            member = archive.gettarinfo(path, str(path.relative_to(root)))
            member.uid = member.gid = member.mtime = 0
            member.uname = member.gname = "root"
            member.mode = 0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644
            with path.open("rb") if member.isreg() else io.BytesIO() as content:
                archive.addfile(member, content)
    return gzip.compress(stream.getvalue(), compresslevel=4, mtime=0)


def _from(bundle: Bundle | None) -> tuple[str, ...]:
    """What tells uv where packages are; nothing where it finds them by itself."""
    try:
        return offline(bundle.folder(contents.WHEELS)) if bundle else ()
    except MachineError as error:
        raise CannotBuild(f"cannot build the release: {error}") from error


def _dependencies(to: Path, python: str, source: tuple[str, ...]) -> None:
    _uv(
        "pip", "install", *source, "--target", str(to), "--python-version", python,
        "--python-platform", "x86_64-manylinux_2_28", "--only-binary", ":all:",
        "--require-hashes", "--no-deps", "-r", str(LOCK),
    )  # fmt: skip
    for path in sorted(to.rglob("*"), reverse=True):
        inside = str(path.relative_to(to))
        if path.name in NEEDLESS and path.is_dir() and not inside.startswith(KEPT):
            shutil.rmtree(path)
    shutil.rmtree(to / "bin", ignore_errors=True)
    _compile(to, python)


def _package(to: Path, python: str, dependencies: str, source: tuple[str, ...]) -> None:
    with tempfile.TemporaryDirectory() as wheels:
        _uv("build", "--quiet", *source, "--wheel", "--out-dir", wheels, str(ROOT))
        (wheel,) = Path(wheels).glob("*.whl")
        _uv("pip", "install", "--target", str(to), "--python-version", python, "--no-deps", str(wheel))
    shutil.rmtree(to / "bin", ignore_errors=True)
    _compile(to, python)
    (to / "bin").mkdir()
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    for name, entry in scripts.items():
        program = to / "bin" / name
        program.write_text(_program(entry, dependencies))
        program.chmod(0o755)


def _program(entry: str, dependencies: str) -> str:
    """A start script that depends on nothing but the system's Python: no environment to break, nothing to activate."""
    module, _, function = entry.partition(":")
    return (
        "#!/usr/bin/python3 -I\n"
        "import os, sys\n"
        f"sys.path[:0] = [os.path.dirname(os.path.dirname(os.path.realpath(__file__))), {dependencies!r}]\n"
        f"from {module} import {function}\n"
        f"{function}()\n"
    )


def _compile(to: Path, python: str) -> None:
    if python != f"{sys.version_info[0]}.{sys.version_info[1]}":
        return
    mode = py_compile.PycInvalidationMode.UNCHECKED_HASH
    compileall.compile_dir(to, quiet=2, invalidation_mode=mode, stripdir=str(to), workers=os.cpu_count() or 1)


def _uv(*words: str) -> None:
    uv = next((str(path) for path in (home() / "uv/bin/uv",) if path.exists()), shutil.which("uv"))
    if uv is None:
        raise CannotBuild("cannot build the release: uv is not installed; run scripts/setup")
    environment = {key: value for key, value in os.environ.items() if key != "VIRTUAL_ENV"}
    done = subprocess.run(
        [uv, *words], check=False, capture_output=True, text=True, timeout=PATIENCE, env=environment, cwd=ROOT
    )
    if done.returncode:
        last = "\n".join(done.stderr.strip().splitlines()[-5:])
        raise CannotBuild(f"cannot build the release: uv {words[0]} ended with {done.returncode}:\n{last}")
