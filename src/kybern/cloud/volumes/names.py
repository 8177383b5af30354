"""What the driver is called, and the marks that it leaves in the API."""

DRIVER = "volumes.kybern.io"
ZONE_KEY = "topology.kubernetes.io/zone"
"""The label of nodes that volumes are bound to: cloud-controller-manager writes it."""

ATTACHER_FINALIZER = "external-attacher/volumes-kybern-io"
"""Of attachments, as upstream's attacher names it: DRIVER with dashes."""
HANDLE = f"{DRIVER}/handle"
"""Of an attachment, as an annotation: the volume it is about, for when that is gone from the API."""
PROVISIONING_FINALIZER = f"{DRIVER}/provisioning"
CHOSEN_ZONE = f"{DRIVER}/zone"
"""Of a claim whose volume is being made, beside the finalizer: where."""

CONTENT_FINALIZER = "snapshot.storage.kubernetes.io/volumesnapshotcontent-bound-protection"
SNAPSHOT_FINALIZER = "snapshot.storage.kubernetes.io/volumesnapshot-bound-protection"

FS_TYPE = "csi.storage.k8s.io/fstype"
FS_TYPES = ("ext4", "ext3", "xfs")
"""The first is what a class gets that names none."""
