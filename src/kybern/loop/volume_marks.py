"""The annotations by which scheduler, binder and drivers tell each other about volumes: upstream's names, said once.

    scheduler  ──SELECTED_NODE on the claim──> binder ──PROVISIONER on the claim──> driver makes the volume
        ^                                                                             │
        └──── the mark is gone: no volume can be made for that node ─────────────────┘
    binder     ──BIND_COMPLETED on the claim, BOUND_BY_CONTROLLER on what it wrote itself

(component-helpers/storage/volume, and the external provisioners.)
"""

BIND_COMPLETED = "pv.kubernetes.io/bind-completed"
BOUND_BY_CONTROLLER = "pv.kubernetes.io/bound-by-controller"
SELECTED_NODE = "volume.kubernetes.io/selected-node"
PROVISIONER = "volume.kubernetes.io/storage-provisioner"
BETA_PROVISIONER = "volume.beta.kubernetes.io/storage-provisioner"
PROVISIONED_BY = "pv.kubernetes.io/provisioned-by"
MIGRATED_TO = "pv.kubernetes.io/migrated-to"

# The provisioner of a class whose volumes are there already, and that nobody makes more of.
NO_PROVISIONER = "kubernetes.io/no-provisioner"
LATER = (
    "WaitForFirstConsumer"  # the volumeBindingMode of a class whose volumes are chosen together with the node
)

# What external-provisioner writes into the volumes that it makes.
PROVISIONER_FINALIZER = "external-provisioner.volume.kubernetes.io/finalizer"
DELETION_SECRET_NAME = "volume.kubernetes.io/provisioner-deletion-secret-name"  # noqa: S105  # an annotation
DELETION_SECRET_NAMESPACE = "volume.kubernetes.io/provisioner-deletion-secret-namespace"  # noqa: S105
IDENTITY = "storage.kubernetes.io/csiProvisionerIdentity"
