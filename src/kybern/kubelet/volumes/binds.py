"""From volume mounts to the binds of a container: read-only, propagation, subPath and subPathExpr.

A subPath never leads out of its volume: it is resolved step by step without following links out, made when it is
missing, and given to the runtime as the resolved path.
"""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath

from kybern.api.core_v1 import Container, VolumeMount
from kybern.kubelet.environment import expand
from kybern.kubelet.spec import Bind
from kybern.kubelet.volumes.plugin import CannotMount


def binds(container: Container, volumes: Mapping[str, Path], variables: Mapping[str, str]) -> Iterator[Bind]:
    """One for each mount. ``volumes`` gives the path of each volume of the pod."""
    for mount in container.volume_mounts:
        if mount.name not in volumes:
            raise CannotMount(f'cannot find volume "{mount.name}" to mount into container "{container.name}"')
        path = volumes[mount.name]
        below = _sub_path(mount, variables)
        if below:
            path = _inside(path, below)
        elif not path.exists():
            # A host path without a type that is not there becomes a directory, as the runtime would make it.
            path.mkdir(parents=True, exist_ok=True)
        inside = mount.mount_path if mount.mount_path.startswith("/") else f"/{mount.mount_path}"
        yield Bind(
            inside=inside,
            outside=str(path),
            read_only=bool(mount.read_only),
            propagation=mount.mount_propagation,
            recursive=mount.recursive_read_only == "Enabled",
        )


def _sub_path(mount: VolumeMount, variables: Mapping[str, str]) -> str:
    below = mount.sub_path
    if mount.sub_path_expr:
        below = expand(mount.sub_path_expr, variables)
        if "$(" in below:
            raise CannotMount(f"missing value for {mount.sub_path_expr}")
    if not below:
        return ""
    if below.startswith("/"):
        raise CannotMount(f"error SubPath `{below}` must not be an absolute path")
    if ".." in PurePosixPath(below).parts:
        raise CannotMount(f"unable to provision SubPath `{below}`: must not contain '..'")
    return below


def _inside(volume: Path, below: str) -> Path:
    root = Path(os.path.realpath(volume))
    path = root / below
    resolved = Path(os.path.realpath(path))
    if resolved != root and root not in resolved.parents:
        raise CannotMount(f"subPath {below} leads out of its volume")
    if not resolved.exists():
        mode = root.stat().st_mode & 0o7777
        resolved.mkdir(parents=True)
        resolved.chmod(mode)
    return resolved
