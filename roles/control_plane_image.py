"""The archives of the control plane's image, made on the operator's side as the release is: once, by digest of what goes in.

Its root comes out of the machine image, which is built if it is not there, and the release in it is the one for that
image's Python, whatever Python a machine has itself.
"""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from threading import Lock

from kybern.machines import control_plane_image as planned
from kybern.machines import cut, images, oci, recipe
from kybern.machines.bundle import contents
from kybern.machines.bundle.opened import Bundle
from kybern.machines.errors import MachineError
from kybern.machines.state import home
from roles.release import CannotBuild, Release, release

SOURCES = tuple(Path(str(module.__file__)) for module in (planned, cut, oci))


@dataclass(frozen=True, slots=True)
class Archive:
    """A tarball on this side, and the name of the image in it."""

    source: Path
    image: str


@dataclass(frozen=True, slots=True)
class ControlPlaneImage:
    """Both archives, and the release that is in them."""

    base: Archive
    own: Archive
    release: Release

    @property
    def names(self) -> tuple[str, ...]:
        return (self.base.image, self.own.image)


# pyinfra prepares all hosts at once: one makes it, and all get the same.
_making = Lock()
_made: list[ControlPlaneImage] = []


def control_plane_image(bundle: Bundle | None = None) -> ControlPlaneImage:
    """The image of this tree's release; made if it is not there yet, and the same for a whole run. Raises CannotBuild."""
    with _making:
        if not _made:
            try:
                _made.append(_image(bundle))
            except MachineError as error:
                raise CannotBuild(f"cannot build the control plane's image: {error}") from error
        return _made[0]


def _image(bundle: Bundle | None) -> ControlPlaneImage:
    offered = bundle.folder(contents.MACHINES) if bundle else None
    root = images.directory(recipe.container(), print, offered=offered)
    found = release(planned.python_of(root), bundle)
    store = home() / "release"
    dependencies, package = found.dependencies, found.package

    def base() -> bytes:
        return planned.base(root, dependencies.source, dependencies.target)[1]

    first = _kept(
        store / f"control-plane-base-{_digest(planned.inputs_of(root), dependencies.target)}.tar", base
    )
    below = planned.read(first)

    def own() -> bytes:
        return planned.whole(below, package.source, package.target)[1]

    second = _kept(store / f"control-plane-{_digest(below.name, package.target)}.tar", own)
    return ControlPlaneImage(Archive(first, below.name), Archive(second, planned.read(second).name), found)


def _kept(path: Path, make: Callable[[], bytes]) -> Path:
    if not path.exists():
        # Another deploy of another cluster may make the same at this moment.
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=".build-") as directory:
            fresh = Path(directory) / path.name
            fresh.write_bytes(make())
            fresh.replace(path)
    return path


def _digest(*inputs: str) -> str:
    total = sha256()
    for source in SOURCES:
        total.update(sha256(source.read_bytes()).digest())
    total.update("\n".join(inputs).encode())
    return total.hexdigest()[:16]
