"""MutatingWebhookConfiguration: whom to ask for changes to a request."""

from kybern.api.rules import hookchecks, hooks
from kybern.api.rules.tables import simple
from kybern.machinery.kind import Column, Kind, Raw, Rules, wish_changed


def _default(raw: Raw) -> None:
    for hook in raw.get("webhooks") or ():
        hooks.default_webhook(hook)
        if not hook.get("reinvocationPolicy"):
            hook["reinvocationPolicy"] = "Never"


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
    rules=Rules(default=_default, validate=hookchecks.webhooks),
    allow_unconditional_update=False,
    storage_version_hash="Sqi0GUgDaX0=",
    generation=wish_changed,
)
