"""CSIStorageCapacity: how much storage of a class a part of the cluster can still have."""

from collections.abc import Iterator

from kybern.api.rules.amounts import amount
from kybern.api.rules.causes import all_invalid, unchanged
from kybern.api.rules.formats import subdomain
from kybern.api.rules.labels import selector
from kybern.api.rules.tables import CREATED
from kybern.machinery.errors import Cause
from kybern.machinery.kind import Kind, Raw, Rules


def _validate(new: Raw, old: Raw | None) -> Iterator[Cause]:
    yield from selector("nodeTopology", new.get("nodeTopology"))
    name_ = new.get("storageClassName", "")
    yield from all_invalid("storageClassName", name_, subdomain(name_))
    for key in ("capacity", "maximumVolumeSize"):
        if new.get(key) is not None:
            yield from amount(key, "storage", new[key])
    if old is not None:
        yield from unchanged("nodeTopology", new.get("nodeTopology"), old.get("nodeTopology"))
        yield from unchanged("storageClassName", name_, old.get("storageClassName", ""))


KIND = Kind(
    group="storage.k8s.io",
    version="v1",
    kind="CSIStorageCapacity",
    plural="csistoragecapacities",
    namespaced=True,
    schema="io.k8s.api.storage.v1.CSIStorageCapacity",
    singular="csistoragecapacity",
    storage="csistoragecapacities",
    table=CREATED,
    allow_unconditional_update=False,
    rules=Rules(validate=_validate),
    storage_version_hash="xeVl+2Ly1kE=",
)
