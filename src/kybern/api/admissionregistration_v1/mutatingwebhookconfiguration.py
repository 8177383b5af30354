"""MutatingWebhookConfiguration: whom to ask for changes to a request."""

from kybern.api.rules.tables import simple
from kybern.machinery.kind import Column, Kind, wish_changed

KIND = Kind(
    group="admissionregistration.k8s.io",
    version="v1",
    kind="MutatingWebhookConfiguration",
    plural="mutatingwebhookconfigurations",
    namespaced=False,
    schema="io.k8s.api.admissionregistration.v1.MutatingWebhookConfiguration",
    singular="mutatingwebhookconfiguration",
    categories=("api-extensions",),
    storage="mutatingwebhookconfigurations",
    table=simple((Column("Webhooks", "integer"),), lambda raw: [len(raw.get("webhooks") or ())]),
    storage_version_hash="Sqi0GUgDaX0=",
    generation=wish_changed,
)
