"""LimitRange: bounds and defaults for what pods of a namespace may ask."""

from kybern.api.rules.tables import CREATED
from kybern.machinery.kind import Kind

KIND = Kind(
    group="",
    version="v1",
    kind="LimitRange",
    plural="limitranges",
    namespaced=True,
    schema="io.k8s.api.core.v1.LimitRange",
    singular="limitrange",
    short_names=("limits",),
    storage="limitranges",
    table=CREATED,
    storage_version_hash="EBKMFVe6cwo=",
)
