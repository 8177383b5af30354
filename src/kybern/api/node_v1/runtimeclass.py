"""RuntimeClass: by which handler of the container runtime a pod runs."""

from kybern.api.rules.tables import simple
from kybern.machinery.kind import Column, Kind

KIND = Kind(
    group="node.k8s.io",
    version="v1",
    kind="RuntimeClass",
    plural="runtimeclasses",
    namespaced=False,
    schema="io.k8s.api.node.v1.RuntimeClass",
    singular="runtimeclass",
    storage="runtimeclasses",
    table=simple((Column("Handler"),), lambda raw: [raw.get("handler", "")]),
    allow_create_on_update=True,
    allow_unconditional_update=False,
    storage_version_hash="WQTu1GL3T2Q=",
)
