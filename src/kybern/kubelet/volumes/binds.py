"""From volume mounts to the binds of a container: read-only, propagation, subPath and subPathExpr.

A subPath never leads out of its volume (``subpath.py``).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from types import MappingProxyType

from kybern.api.core_v1 import Container, VolumeMount
from kybern.kubelet.environment import expand, references
from kybern.kubelet.parts import mounted_at
from kybern.kubelet.spec import Bind
from kybern.kubelet.volumes import subpath
from kybern.kubelet.volumes.plugin import CannotMount


@dataclass(frozen=True, slots=True)
class Places:
    """Where the volumes of a pod are, by name; ``home`` is the pod's directory.

    ``images`` are those of the volumes that the runtime mounts itself; ``only_read`` the volumes that no container may write
    into; ``deep`` the paths inside at which nothing below a mount can be written either.
    """

    volumes: Mapping[str, Path]
    home: Path
    images: Mapping[str, str] = MappingProxyType({})
    only_read: frozenset[str] = frozenset()
    deep: frozenset[str] = frozenset()


def binds(container: Container, variables: Mapping[str, str], places: Places) -> Iterator[Bind]:
    """One for each mount; raises CannotMount."""
    volumes, home, images = places.volumes, places.home, places.images
    for index, mount in enumerate(container.volume_mounts):
        if mount.name not in volumes:
            raise CannotMount(f'cannot find volume "{mount.name}" to mount into container "{container.name}"')
        path = volumes[mount.name]
        below = _sub_path(mount, variables)
        inside = mounted_at(mount)
        if mount.name in images:
            yield Bind(inside, "", read_only=True, image=images[mount.name], below=below)
            continue
        if below:
            place = home / "volume-subpaths" / mount.name / container.name / str(index)
            try:
                path = subpath.prepare(path, below, place)
            except OSError as problem:
                text = f'failed to prepare subPath for volumeMount "{mount.name}" of container "{container.name}"'
                raise CannotMount(f"{text}: {problem.strerror}") from problem
        elif not path.exists():
            # A host path without a type that is not there becomes a directory, as the runtime would make it.
            path.mkdir(parents=True, exist_ok=True)
        yield Bind(
            inside=inside,
            outside=str(path),
            read_only=bool(mount.read_only) or mount.name in places.only_read,
            propagation=mount.mount_propagation,
            recursive=inside in places.deep,
        )


def _sub_path(mount: VolumeMount, variables: Mapping[str, str]) -> str:
    below = mount.sub_path
    if mount.sub_path_expr:
        missing = sorted(name for name in references(mount.sub_path_expr) if not variables.get(name))
        if missing:
            raise CannotMount(f"missing value for {', '.join(missing)}")
        below = expand(mount.sub_path_expr, variables)
    if not below:
        return ""
    if below.startswith("/"):
        raise CannotMount(f"error SubPath `{below}` must not be an absolute path")
    if ".." in PurePosixPath(below).parts:
        raise CannotMount(f"unable to provision SubPath `{below}`: must not contain '..'")
    return below
