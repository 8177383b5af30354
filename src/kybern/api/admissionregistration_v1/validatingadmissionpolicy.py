"""ValidatingAdmissionPolicy: checks of requests, as expressions."""

from typing import Any

from kybern.api.rules import hooks, policychecks
from kybern.api.rules.policies import param_kind
from kybern.api.rules.statuses import keep_metadata
from kybern.api.rules.subresources import status
from kybern.api.rules.tables import dig, simple
from kybern.machinery.kind import Column, Kind, Raw, Rules, wish_changed


def _cells(raw: Raw) -> list[Any]:
    return [len(dig(raw, "spec", "validations") or ()), param_kind(raw)]


def _default(raw: Raw) -> None:
    hooks.default_policy(raw)
    raw.setdefault("status", {})


KIND = Kind(
    group="admissionregistration.k8s.io",
    version="v1",
    kind="ValidatingAdmissionPolicy",
    plural="validatingadmissionpolicies",
    namespaced=False,
    schema="io.k8s.api.admissionregistration.v1.ValidatingAdmissionPolicy",
    singular="validatingadmissionpolicy",
    categories=("api-extensions",),
    storage="validatingadmissionpolicies",
    subresources=(status("ValidatingAdmissionPolicy", "admissionregistration.k8s.io"),),
    table=simple((Column("Validations", "integer"), Column("ParamKind")), _cells),
    rules=Rules(default=_default, validate=policychecks.validating, on_status=keep_metadata),
    allow_unconditional_update=False,
    storage_version_hash="6OxvlMmQ6is=",
    generation=wish_changed,
)
