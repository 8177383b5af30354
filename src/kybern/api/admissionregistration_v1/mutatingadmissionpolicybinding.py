"""MutatingAdmissionPolicyBinding: where a policy applies, and with which parameters."""

from kybern.api.rules import policychecks
from kybern.api.rules.hooks import default_binding
from kybern.api.rules.policies import BINDING_TABLE
from kybern.machinery.kind import Kind, Rules, wish_changed

KIND = Kind(
    group="admissionregistration.k8s.io",
    version="v1",
    kind="MutatingAdmissionPolicyBinding",
    plural="mutatingadmissionpolicybindings",
    namespaced=False,
    schema="io.k8s.api.admissionregistration.v1.MutatingAdmissionPolicyBinding",
    singular="mutatingadmissionpolicybinding",
    categories=("api-extensions",),
    storage="mutatingadmissionpolicybindings",
    table=BINDING_TABLE,
    rules=Rules(default=default_binding, validate=policychecks.mutating_binding),
    allow_unconditional_update=False,
    storage_version_hash="90V5FRZZ3Zg=",
    generation=wish_changed,
)
