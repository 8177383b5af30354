"""ValidatingWebhookConfiguration: whom to ask whether a request may pass."""

from kybern.api.rules.tables import simple
from kybern.machinery.kind import Column, Kind, wish_changed

KIND = Kind(
    group="admissionregistration.k8s.io",
    version="v1",
    kind="ValidatingWebhookConfiguration",
    plural="validatingwebhookconfigurations",
    namespaced=False,
    schema="io.k8s.api.admissionregistration.v1.ValidatingWebhookConfiguration",
    singular="validatingwebhookconfiguration",
    categories=("api-extensions",),
    storage="validatingwebhookconfigurations",
    table=simple((Column("Webhooks", "integer"),), lambda raw: [len(raw.get("webhooks") or ())]),
    storage_version_hash="B0wHjQmsGNk=",
    generation=wish_changed,
)
