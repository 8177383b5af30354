"""ConfigMap: configuration that pods read; text and bytes share one space of keys."""

from kybern.api.rules.tables import simple
from kybern.machinery.kind import Column, Kind

KIND = Kind(
    group="",
    version="v1",
    kind="ConfigMap",
    plural="configmaps",
    namespaced=True,
    schema="io.k8s.api.core.v1.ConfigMap",
    singular="configmap",
    short_names=("cm",),
    storage="configmaps",
    table=simple(
        (Column("Data"),), lambda raw: [len(raw.get("data") or ()) + len(raw.get("binaryData") or ())]
    ),
    storage_version_hash="qFsyl6wFWjQ=",
)
