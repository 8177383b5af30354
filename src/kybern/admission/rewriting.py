"""Putting what somebody made of an object in its place: decoded, with defaults, in the version of the request.

The engine goes on with the very object that it gave to admission, so that one is filled anew.
"""

from typing import Any

from kybern.admission.framework import Request
from kybern.admission.seen import View, sent_kind
from kybern.machinery.errors import ApiError, InternalError
from kybern.machinery.kind import Kind, Raw


def rewritten(seen: View, made: Any) -> Raw:
    """A new object, decoded like a body of its kind. Raises InternalError."""
    if not isinstance(made, dict):
        raise InternalError.of("what is to be stored is not an object")
    kind = decoded_as(seen.request, seen.kind)
    configured = seen.request.configured
    if kind is None or configured is None:
        return made
    try:
        return configured.versions.reread(kind, made)
    except ApiError as problem:
        raise InternalError.of(problem.message) from problem


def decoded_as(request: Request, kind: Kind) -> Kind | None:
    """The kind as which an object of a write is decoded; None for one that no schema is known of here."""
    return kind if sent_kind(request, kind) == (kind.group, kind.version, kind.kind) else None


async def put(seen: View, made: Raw) -> bool:
    """Make it the object of the write; whether that changed it."""
    request = seen.request
    if seen.new is None or made == seen.new:
        return False
    new = request.new
    assert new is not None  # the view has one
    if seen.kind is not request.kind and new is not seen.new:
        assert request.configured is not None
        made = await request.configured.versions.convert(made, seen.kind, request.kind)
    new.clear()
    new.update(made)
    return True
