"""LimitRange: bounds and defaults for what pods of a namespace may ask."""

from kybern.api.rules import limits
from kybern.api.rules.emptylists import null_when_empty
from kybern.api.rules.tables import CREATED
from kybern.machinery.kind import Kind, Raw, Rules


def _default(raw: Raw) -> None:
    spec = raw.setdefault("spec", {})
    for item in spec.get("limits") or ():
        if item.get("type") == "Container":
            _default_container(item)
    spec.setdefault("limits", None)


def _default_container(item: Raw) -> None:
    """The most a container may have is what it gets without saying; what it gets is what it asks for."""
    limit = {**(item.get("max") or {}), **(item.get("default") or {})}
    request = {**(item.get("min") or {}), **limit, **(item.get("defaultRequest") or {})}
    if limit:
        item["default"] = limit
    if request:
        item["defaultRequest"] = request


KIND = Kind(
    group="",
    version="v1",
    kind="LimitRange",
    plural="limitranges",
    namespaced=True,
    schema="io.k8s.api.core.v1.LimitRange",
    singular="limitrange",
    short_names=("limits",),
    storage="limitranges",
    table=CREATED,
    rules=Rules(default=_default, forget=null_when_empty("spec.limits"), validate=limits.limit_range),
    allow_create_on_update=True,
    storage_version_hash="EBKMFVe6cwo=",
)
