"""Mounts below which nothing can be written, not even in what is mounted there (recursiveReadOnly, KEP-3857). Pure."""

from kybern.api.core_v1 import Container, VolumeMount
from kybern.kubelet.parts import mounted_at
from kybern.kubelet.volumes.plugin import CannotMount


def asked(mount: VolumeMount) -> bool:
    """Whether a mount is to be so, if it can."""
    return bool(mount.read_only) and mount.recursive_read_only in ("Enabled", "IfPossible")


def paths(container: Container, *, able: bool) -> frozenset[str]:
    """The paths of those that are so. ``able``: the runtime can. Raises CannotMount where one must be so and cannot."""
    wanted = [mount for mount in container.volume_mounts if asked(mount)]
    if able:
        return frozenset(mounted_at(mount) for mount in wanted)
    for mount in wanted:
        if mount.recursive_read_only == "Enabled":
            raise CannotMount(
                f'failed to resolve recursive read-only mode: volume "{mount.name}" requested recursive read-only mode, '
                "but it is not supported by the runtime"
            )
    return frozenset()
