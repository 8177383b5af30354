"""Objects in the order in which Go writes them, for messages that quote them whole: ours keep the order they came in."""

from collections.abc import Mapping
from typing import Any

_METADATA = (
    "name", "generateName", "namespace", "selfLink", "uid", "resourceVersion", "generation", "creationTimestamp",
    "deletionTimestamp", "deletionGracePeriodSeconds", "labels", "annotations", "ownerReferences", "finalizers",
    "managedFields",
)  # fmt: skip
_SORTED = frozenset({"labels", "annotations"})


def metadata(raw: Mapping[str, Any]) -> dict[str, Any]:
    """ObjectMeta: the fields as they are declared, maps and owned fields sorted."""
    found = {key: raw[key] for key in _METADATA if key in raw}
    for key in _SORTED & found.keys():
        found[key] = _sorted(found[key])
    if isinstance(found.get("managedFields"), list):
        found["managedFields"] = [_entry(each) for each in found["managedFields"]]
    return found


def patched(raw: Any) -> Any:
    """The result of a patch: its top is sorted, its metadata are not. What else is nested stays as it is."""
    if not isinstance(raw, dict):
        return raw
    found = {key: raw[key] for key in sorted(raw)}
    if isinstance(found.get("metadata"), dict):
        # Fields that ObjectMeta does not have come last.
        ordered = metadata(found["metadata"])
        found["metadata"] = {
            **ordered,
            **{key: each for key, each in found["metadata"].items() if key not in ordered},
        }
    return found


def _entry(entry: Any) -> Any:
    if not isinstance(entry, dict) or "fieldsV1" not in entry:
        return entry
    return {**entry, "fieldsV1": _sorted(entry["fieldsV1"])}


def _sorted(value: Any) -> Any:
    return {key: _sorted(value[key]) for key in sorted(value)} if isinstance(value, dict) else value
