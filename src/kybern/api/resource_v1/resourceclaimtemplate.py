"""ResourceClaimTemplate: from which claims for pods are made."""

from kybern.api.rules.tables import AGED
from kybern.machinery.kind import Kind

KIND = Kind(
    group="resource.k8s.io",
    version="v1",
    kind="ResourceClaimTemplate",
    plural="resourceclaimtemplates",
    namespaced=True,
    schema="io.k8s.api.resource.v1.ResourceClaimTemplate",
    singular="resourceclaimtemplate",
    storage="resourceclaimtemplates",
    table=AGED,
    storage_version_hash="TuzjC49aUfM=",
)
