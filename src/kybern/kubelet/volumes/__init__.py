"""Volumes of pods: one file a kind, one line in ``VOLUMES``.

A pod's volumes live below ``ROOT/pods/UID/volumes/PLUGIN/NAME``, as with upstream, and go when the pod does. What a volume
holds that the API server may change (config maps, secrets, the pod's own fields, tokens) is written again from time to
time, each time all at once (``atomic.py``).
"""

from kybern.kubelet.volumes import (
    config_map,
    csi,
    downward_api,
    empty_dir,
    host_path,
    image,
    iscsi,
    local,
    nfs,
    projected,
    secret,
)
from kybern.kubelet.volumes.plugin import Plugin

VOLUMES: tuple[Plugin, ...] = (
    empty_dir.PLUGIN,
    host_path.PLUGIN,
    config_map.PLUGIN,
    secret.PLUGIN,
    downward_api.PLUGIN,
    projected.PLUGIN,
    image.PLUGIN,
    local.PLUGIN,
    nfs.PLUGIN,
    iscsi.PLUGIN,
    csi.PLUGIN,
)
