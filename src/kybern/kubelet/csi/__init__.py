"""Storage drivers (Container Storage Interface): who is there, and what they are asked for pods' volumes.

    ROOT/plugins_registry/*.sock ─> registry ─> Node (annotation, labels), CSINode
    volumes/csi.py ─> mounter ─> driver (gRPC): stage once a node, publish once a pod; and back
    ROOT/plugins/kubernetes.io/csi/DRIVER/HASH/globalmount            where a volume is staged
    ROOT/plugins/kubernetes.io/csi/volumeDevices      the same of volumes that are devices (blocks.py)
    ROOT/pods/UID/volumes/kubernetes.io~csi/VOLUME/{mount,vol_data.json}   where it is published, and of what

All that must outlive the process is in the ``vol_data.json`` files, whose places and fields are upstream's.
"""
