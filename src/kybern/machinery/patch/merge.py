"""RFC 7386: objects are merged, null removes, anything else replaces."""

from typing import Any

from kybern.machinery.errors import BadRequest
from kybern.machinery.kind import Raw
from kybern.machinery.patch.values import fresh, not_an_object


def merge_patch(doc: Raw, patch: Any) -> Raw:
    """The document with the patch merged in; raises BadRequest when the patch is no object."""
    if not isinstance(patch, dict):
        if patch is None:
            return doc
        raise BadRequest(f"error decoding patch: {not_an_object(patch)}")
    return _merged(doc, patch)


def _merged(doc: Raw, patch: Raw) -> Raw:
    found = dict(doc)
    for key, value in patch.items():
        if value is None:
            found.pop(key, None)
            continue
        old = found.get(key)
        if isinstance(old, dict) and isinstance(value, dict):
            found[key] = _merged(old, value)
        else:
            found[key] = without_nulls(value)
    return found


def without_nulls(value: Any) -> Any:
    """A copy without members that are null; nulls in lists stay."""
    if isinstance(value, dict):
        return {key: without_nulls(each) for key, each in value.items() if each is not None}
    if isinstance(value, list):
        return [without_nulls(each) for each in value]
    return fresh(value)
