"""CSINode: the storage drivers of a node."""

from kybern.api.rules.tables import dig, simple
from kybern.machinery.kind import Column, Kind, Raw, Rules


def _default(raw: Raw) -> None:
    spec = raw.setdefault("spec", {})
    for driver in spec.get("drivers") or ():
        driver["topologyKeys"] = driver.get("topologyKeys") or None
    if not spec.get("drivers"):
        spec["drivers"] = None  # upstream's answers say null here


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
    rules=Rules(default=_default),
    allow_unconditional_update=False,
    storage_version_hash="Pe62DkZtjuo=",
)
