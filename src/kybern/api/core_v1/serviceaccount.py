"""ServiceAccount: who a pod is."""

from kybern.api.rules.tables import AGED
from kybern.machinery.kind import Kind, Subresource

KIND = Kind(
    group="",
    version="v1",
    kind="ServiceAccount",
    plural="serviceaccounts",
    namespaced=True,
    schema="io.k8s.api.core.v1.ServiceAccount",
    singular="serviceaccount",
    short_names=("sa",),
    storage="serviceaccounts",
    subresources=(Subresource("token", "TokenRequest", "authentication.k8s.io", verbs=("create",)),),
    table=AGED,
    storage_version_hash="pbx9ZvyFpBE=",
)
