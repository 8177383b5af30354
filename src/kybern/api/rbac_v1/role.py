"""Role: rights in one namespace."""

from kybern.api.rules import roles
from kybern.api.rules.emptylists import null_when_empty
from kybern.api.rules.tables import CREATED
from kybern.machinery import names
from kybern.machinery.kind import Kind, Raw, Rules


def _default(raw: Raw) -> None:
    raw.setdefault("rules", None)


KIND = Kind(
    group="rbac.authorization.k8s.io",
    version="v1",
    kind="Role",
    plural="roles",
    namespaced=True,
    schema="io.k8s.api.rbac.v1.Role",
    singular="role",
    storage="roles",
    table=CREATED,
    rules=Rules(default=_default, forget=null_when_empty("rules"), validate=roles.role),
    allow_create_on_update=True,
    valid_name=names.path_segment,
    storage_version_hash="7FuwZcIIItM=",
)
