"""A volume of a storage driver: a persistent one, or one that is the pod's own (``csi/mounter.py``)."""

from pathlib import Path

from kybern.kubelet.volumes.plugin import CannotMount, Plugin, Site


async def _set_up(site: Site) -> Path:
    if site.drivers is None:
        raise CannotMount("this node has no storage drivers")
    return await site.drivers.set_up(site)


PLUGIN = Plugin("kubernetes.io~csi", "csi", _set_up, changes=True, map=_set_up)
