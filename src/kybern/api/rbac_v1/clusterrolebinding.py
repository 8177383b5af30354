"""ClusterRoleBinding: gives a cluster role to subjects, everywhere."""

from kybern.api.rules import bindings, roles
from kybern.machinery import names
from kybern.machinery.kind import Kind, Rules

KIND = Kind(
    group="rbac.authorization.k8s.io",
    version="v1",
    kind="ClusterRoleBinding",
    plural="clusterrolebindings",
    namespaced=False,
    schema="io.k8s.api.rbac.v1.ClusterRoleBinding",
    singular="clusterrolebinding",
    storage="clusterrolebindings",
    table=bindings.TABLE,
    rules=Rules(default=bindings.default, validate=roles.cluster_role_binding),
    allow_create_on_update=True,
    valid_name=names.path_segment,
    storage_version_hash="48tpQ8gZHFc=",
)
