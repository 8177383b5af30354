"""The place of a volume that is an image; what is shown there is had when a container starts (``image_volumes.py``)."""

from pathlib import Path

from kybern.kubelet.volumes.plugin import Plugin, Site


async def _set_up(site: Site) -> Path:
    site.directory.mkdir(parents=True, exist_ok=True)
    return site.directory


PLUGIN = Plugin("kubernetes.io~image", "image", _set_up)
