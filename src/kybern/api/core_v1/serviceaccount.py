"""ServiceAccount: who a pod is."""

from collections.abc import Iterator

from kybern.api.rules.tables import AGED, dig
from kybern.machinery.kind import Kind, Raw, Rules, Subresource

_MOUNTABLE = "kubernetes.io/enforce-mountable-secrets"


def _warnings(new: Raw, _old: Raw | None) -> Iterator[str]:
    if _MOUNTABLE in (dig(new, "metadata", "annotations") or {}):
        text = "deprecated in v1.32+; prefer separate namespaces to isolate access to mounted secrets"
        yield f"metadata.annotations[{_MOUNTABLE}]: {text}"


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
    rules=Rules(warnings=_warnings),
    storage_version_hash="pbx9ZvyFpBE=",
)
