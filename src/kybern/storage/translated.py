"""Stored values in the version of a kind whose versions are converted by somebody else; others pass as they are."""

from collections.abc import Sequence

from kybern.machinery.kind import Kind
from kybern.storage.store import Stored
from kybern.storage.value import Form, decoded, encoded


async def translated(kind: Kind, found: Sequence[Stored]) -> Sequence[Stored]:
    """What was read, as objects of the kind; all that have to be converted in one question. Raises ApiError."""
    translation = kind.translation
    if translation is None:
        return found
    form = Form(kind)
    if all(one.value.startswith(form.start) for one in found):
        return found
    raws = await translation.convert([decoded(one.value) for one in found], kind.api_version)
    return [one._replace(value=form.value(raw)) for one, raw in zip(found, raws, strict=True)]


async def to_store(kind: Kind, value: bytes) -> bytes:
    """A value of the kind in the version that is kept. Raises ApiError."""
    translation = kind.translation
    if translation is None or translation.stored == kind.api_version:
        return value
    (raw,) = await translation.convert([decoded(value)], translation.stored)
    head = {key: raw.pop(key) for key in ("apiVersion", "kind", "metadata")}
    return encoded({**head, **raw})
