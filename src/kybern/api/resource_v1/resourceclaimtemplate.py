"""ResourceClaimTemplate: from which claims for pods are made."""

from kybern.api.rules import devicechecks
from kybern.api.rules.devices import default_claim_spec
from kybern.api.rules.emptylists import null_when_empty
from kybern.api.rules.tables import AGED
from kybern.machinery.kind import Kind, Raw, Rules


def _default(raw: Raw) -> None:
    spec = raw.setdefault("spec", {})
    spec.setdefault("metadata", {})
    default_claim_spec(spec.setdefault("spec", {}))


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
    rules=Rules(
        default=_default, forget=null_when_empty("spec.spec.devices.requests"), validate=devicechecks.template
    ),
    storage_version_hash="TuzjC49aUfM=",
)
