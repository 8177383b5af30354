"""ValidatingAdmissionPolicyBinding: where a policy applies, and with which parameters."""

from kybern.api.rules import policychecks
from kybern.api.rules.hooks import default_binding
from kybern.api.rules.policies import BINDING_TABLE
from kybern.machinery.kind import Kind, Rules, wish_changed

KIND = Kind(
    group="admissionregistration.k8s.io",
    version="v1",
    kind="ValidatingAdmissionPolicyBinding",
    plural="validatingadmissionpolicybindings",
    namespaced=False,
    schema="io.k8s.api.admissionregistration.v1.ValidatingAdmissionPolicyBinding",
    singular="validatingadmissionpolicybinding",
    categories=("api-extensions",),
    storage="validatingadmissionpolicybindings",
    table=BINDING_TABLE,
    rules=Rules(default=default_binding, validate=policychecks.validating_binding),
    allow_unconditional_update=False,
    storage_version_hash="v9715VZqakg=",
    generation=wish_changed,
)
