"""RuntimeClass: by which handler of the container runtime a pod runs."""

from collections.abc import Iterator

from kybern.api.rules.amounts import amount
from kybern.api.rules.causes import all_invalid, required, unchanged
from kybern.api.rules.formats import label
from kybern.api.rules.labels import labels
from kybern.api.rules.pods.scheduling import tolerations
from kybern.api.rules.tables import dig, simple
from kybern.machinery.errors import Cause
from kybern.machinery.kind import Column, Kind, Raw, Rules


def _validate(new: Raw, old: Raw | None) -> Iterator[Cause]:
    handler = new.get("handler", "")
    if not handler:
        yield required("handler")
    else:
        yield from all_invalid("handler", handler, label(handler))
    fixed = dig(new, "overhead", "podFixed") or {}
    for resource, text in fixed.items():
        yield from amount(f"overhead.podFixed[{resource}]", resource, text)
    scheduling_ = new.get("scheduling") or {}
    yield from labels("scheduling.nodeSelector", scheduling_.get("nodeSelector"))
    yield from tolerations("scheduling.tolerations", scheduling_.get("tolerations") or [])
    if old is not None:
        yield from unchanged("handler", handler, old.get("handler", ""))


KIND = Kind(
    group="node.k8s.io",
    version="v1",
    kind="RuntimeClass",
    plural="runtimeclasses",
    namespaced=False,
    schema="io.k8s.api.node.v1.RuntimeClass",
    singular="runtimeclass",
    storage="runtimeclasses",
    table=simple((Column("Handler"),), lambda raw: [raw.get("handler", "")]),
    allow_create_on_update=True,
    allow_unconditional_update=False,
    rules=Rules(validate=_validate),
    storage_version_hash="WQTu1GL3T2Q=",
)
