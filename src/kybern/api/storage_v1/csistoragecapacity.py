"""CSIStorageCapacity: how much storage of a class a part of the cluster can still have."""

from kybern.api.rules.tables import CREATED
from kybern.machinery.kind import Kind

KIND = Kind(
    group="storage.k8s.io",
    version="v1",
    kind="CSIStorageCapacity",
    plural="csistoragecapacities",
    namespaced=True,
    schema="io.k8s.api.storage.v1.CSIStorageCapacity",
    singular="csistoragecapacity",
    storage="csistoragecapacities",
    table=CREATED,
    allow_unconditional_update=False,
    storage_version_hash="xeVl+2Ly1kE=",
)
