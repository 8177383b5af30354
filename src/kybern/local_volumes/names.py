"""What the driver is called, and the marks by which upstream's provisioners are known."""

DRIVER = "local.kybern.io"
NODE_KEY = "local.kybern.io/node"
"""The label of a node that its volumes are bound to: the topology key, with the node's name as value."""

FINALIZER = "external-provisioner.volume.kubernetes.io/finalizer"
DELETION_SECRET_NAME = "volume.kubernetes.io/provisioner-deletion-secret-name"  # noqa: S105  # an annotation
DELETION_SECRET_NAMESPACE = "volume.kubernetes.io/provisioner-deletion-secret-namespace"  # noqa: S105
IDENTITY = "storage.kubernetes.io/csiProvisionerIdentity"
