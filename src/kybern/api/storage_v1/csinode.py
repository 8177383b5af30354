"""CSINode: the storage drivers of a node."""

from collections.abc import Iterator

from kybern.api.rules.causes import all_invalid, duplicate, invalid, required
from kybern.api.rules.emptylists import null_when_empty
from kybern.api.rules.formats import qualified_name
from kybern.api.rules.sources import driver_name
from kybern.api.rules.tables import dig, simple
from kybern.machinery.errors import Cause
from kybern.machinery.kind import Column, Kind, Raw, Rules


def _default(raw: Raw) -> None:
    spec = raw.setdefault("spec", {})
    for driver in spec.get("drivers") or ():
        driver["topologyKeys"] = driver.get("topologyKeys") or None
    spec.setdefault("drivers", None)


def _validate(new: Raw, old: Raw | None) -> Iterator[Cause]:
    names: set[str] = set()
    for i, driver in enumerate(dig(new, "spec", "drivers") or ()):
        at, name_, node = f"spec.drivers[{i}]", driver.get("name", ""), driver.get("nodeID", "")
        yield from driver_name(f"{at}.name", name_)
        if not node:
            yield required(f"{at}.nodeID")
        elif len(node) > 192:
            yield invalid(f"{at}.nodeID", node, "must be 192 characters or less")
        if name_ in names:
            yield duplicate(f"{at}.name", name_)
        names.add(name_)
        for key in driver.get("topologyKeys") or ():
            yield from all_invalid(at, key, qualified_name(key))


KIND = Kind(
    group="storage.k8s.io",
    version="v1",
    kind="CSINode",
    plural="csinodes",
    namespaced=False,
    schema="io.k8s.api.storage.v1.CSINode",
    singular="csinode",
    storage="csinodes",
    table=simple((Column("Drivers", "integer"),), lambda raw: [len(dig(raw, "spec", "drivers") or ())]),
    rules=Rules(default=_default, forget=null_when_empty("spec.drivers"), validate=_validate),
    allow_unconditional_update=False,
    storage_version_hash="Pe62DkZtjuo=",
)
