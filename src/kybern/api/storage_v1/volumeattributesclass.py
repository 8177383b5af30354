"""VolumeAttributesClass: attributes of volumes that may change while they are used."""

from collections.abc import Iterator

from kybern.api.rules.causes import forbidden, required
from kybern.api.rules.sources import driver_name
from kybern.api.rules.tables import simple
from kybern.machinery.errors import Cause
from kybern.machinery.kind import Column, Kind, Raw, Rules


def _validate(new: Raw, old: Raw | None) -> Iterator[Cause]:
    driver, parameters = new.get("driverName", ""), new.get("parameters") or {}
    if old is not None:
        if driver != old.get("driverName", ""):
            yield forbidden("driverName", "updates to driverName are forbidden.")
        if parameters != (old.get("parameters") or {}):
            yield forbidden("parameters", "updates to parameters are forbidden.")
    yield from driver_name("driverName", driver)
    if not parameters:
        yield required("parameters", "must contain at least one key/value pair")


KIND = Kind(
    group="storage.k8s.io",
    version="v1",
    kind="VolumeAttributesClass",
    plural="volumeattributesclasses",
    namespaced=False,
    schema="io.k8s.api.storage.v1.VolumeAttributesClass",
    singular="volumeattributesclass",
    short_names=("vac",),
    storage="volumeattributesclasses",
    table=simple((Column("DriverName"),), lambda raw: [raw.get("driverName", "")]),
    rules=Rules(validate=_validate),
    storage_version_hash="tIjydgKBC5w=",
)
