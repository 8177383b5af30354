"""MutatingAdmissionPolicy: changes to requests, as expressions."""

from typing import Any

from kybern.api.rules import policychecks
from kybern.api.rules.hooks import default_policy
from kybern.api.rules.policies import param_kind
from kybern.api.rules.tables import dig, simple
from kybern.machinery.kind import Column, Kind, Raw, Rules, wish_changed


def _cells(raw: Raw) -> list[Any]:
    return [len(dig(raw, "spec", "mutations") or ()), param_kind(raw)]


KIND = Kind(
    group="admissionregistration.k8s.io",
    version="v1",
    kind="MutatingAdmissionPolicy",
    plural="mutatingadmissionpolicies",
    namespaced=False,
    schema="io.k8s.api.admissionregistration.v1.MutatingAdmissionPolicy",
    singular="mutatingadmissionpolicy",
    categories=("api-extensions",),
    storage="mutatingadmissionpolicies",
    table=simple((Column("Mutations", "integer"), Column("ParamKind")), _cells),
    rules=Rules(default=default_policy, validate=policychecks.mutating),
    allow_unconditional_update=False,
    storage_version_hash="LYmCf+UMVdg=",
    generation=wish_changed,
)
