"""DeviceClass: a choice of devices that claims can name."""

from kybern.api.rules import devicechecks
from kybern.api.rules.tables import AGED
from kybern.machinery.kind import Kind, Raw, Rules, wish_changed


def _default(raw: Raw) -> None:
    raw.setdefault("spec", {})


KIND = Kind(
    group="resource.k8s.io",
    version="v1",
    kind="DeviceClass",
    plural="deviceclasses",
    namespaced=False,
    schema="io.k8s.api.resource.v1.DeviceClass",
    singular="deviceclass",
    storage="deviceclasses",
    table=AGED,
    rules=Rules(default=_default, validate=devicechecks.device_class),
    storage_version_hash="Yk2PTc1Ybxk=",
    generation=wish_changed,
)
