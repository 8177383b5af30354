"""ValidatingWebhookConfiguration: whom to ask whether a request may pass."""

from kybern.api.rules import hookchecks, hooks
from kybern.api.rules.tables import simple
from kybern.machinery.kind import Column, Kind, Raw, Rules, wish_changed


def _default(raw: Raw) -> None:
    for hook in raw.get("webhooks") or ():
        hooks.default_webhook(hook)


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
    rules=Rules(default=_default, validate=hookchecks.webhooks),
    allow_unconditional_update=False,
    storage_version_hash="B0wHjQmsGNk=",
    generation=wish_changed,
)
