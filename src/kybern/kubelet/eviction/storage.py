"""Pods that fill more of the disk than they may: an emptyDir's size limit, and limits of ephemeral storage. Pure."""

from kybern.api.core_v1 import Pod
from kybern.kubelet.resources import amount, limits, limits_of
from kybern.kubelet.stats.use import PodUse
from kybern.machinery.quantity import Quantity, parse

_NAME = "ephemeral-storage"


def exceeded(pod: Pod, use: PodUse, *, dedicated: bool) -> tuple[str, str] | None:
    """Which limit a pod is beyond (upstream's name of the signal), and what it is told; None when it keeps them all.

    ``dedicated``: what containers write lies on a file system of its own, and does not count.
    """
    return _empty_dir(pod, use) or _whole(pod, use) or _container(pod, use, dedicated=dedicated)


def _empty_dir(pod: Pod, use: PodUse) -> tuple[str, str] | None:
    for volume in pod.spec.volumes:
        source, disk = volume.empty_dir, use.volumes.get(volume.name)
        if source is None or disk is None or not source.size_limit:
            continue
        most = parse(source.size_limit)
        if most and disk.used > most.value():
            text = f'Usage of EmptyDir volume "{volume.name}" exceeds the limit "{most}". '
            return "emptydirfs.limit", text
    return None


def _whole(pod: Pod, use: PodUse) -> tuple[str, str] | None:
    """All containers that have a limit together."""
    most = limits_of(pod, _NAME)
    if not most or use.ephemeral.used <= most // 1000:
        return None
    first = next(q for one in pod.spec.containers if (q := amount(limits(one), _NAME)))
    shown = Quantity(most * 10**6, first.format)
    text = f"Pod ephemeral local storage usage exceeds the total limit of containers {shown}. "
    return "ephemeralpodfs.limit", text


def _container(pod: Pod, use: PodUse, *, dedicated: bool) -> tuple[str, str] | None:
    most = {one.name: amount(limits(one), _NAME) for one in pod.spec.containers if amount(limits(one), _NAME)}
    for one in use.containers:
        used = one.logs.used + (0 if dedicated else one.rootfs.used)
        if one.name in most and used > most[one.name].value():
            text = f'Container {one.name} exceeded its local ephemeral storage limit "{most[one.name]}". '
            return "ephemeralcontainerfs.limit", text
    return None
