"""RoleBinding: gives a role or cluster role to subjects, in one namespace."""

from kybern.api.rules import bindings, roles
from kybern.machinery import names
from kybern.machinery.kind import Kind, Rules

KIND = Kind(
    group="rbac.authorization.k8s.io",
    version="v1",
    kind="RoleBinding",
    plural="rolebindings",
    namespaced=True,
    schema="io.k8s.api.rbac.v1.RoleBinding",
    singular="rolebinding",
    storage="rolebindings",
    table=bindings.TABLE,
    rules=Rules(default=bindings.default, validate=roles.role_binding),
    allow_create_on_update=True,
    valid_name=names.path_segment,
    storage_version_hash="eGsCzGH6b1g=",
)
