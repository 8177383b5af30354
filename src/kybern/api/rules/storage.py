"""What claims and volumes print alike."""

from collections.abc import Iterable

from kybern.api.rules.tables import dig
from kybern.machinery.kind import Raw

_BETA_CLASS = "volume.beta.kubernetes.io/storage-class"
_SHORT = {
    "ReadWriteOnce": "RWO",
    "ReadOnlyMany": "ROX",
    "ReadWriteMany": "RWX",
    "ReadWriteOncePod": "RWOP",
}


def access_modes(modes: Iterable[str] | None) -> str:
    """Access modes in their short forms, in upstream's order, each once."""
    found = set(modes or ())
    return ",".join(short for mode, short in _SHORT.items() if mode in found)


def class_name(raw: Raw) -> str:
    """The storage class of a claim or volume: the old annotation wins over the field, as upstream has it."""
    annotations = dig(raw, "metadata", "annotations") or {}
    if _BETA_CLASS in annotations:
        return str(annotations[_BETA_CLASS])
    return str(dig(raw, "spec", "storageClassName") or "")
