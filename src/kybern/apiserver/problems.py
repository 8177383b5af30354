"""The errors that many verbs raise, in upstream's words."""

from kybern.machinery.errors import (
    AlreadyExists,
    ApiError,
    Cause,
    Conflict,
    Details,
    Expired,
    MethodNotAllowed,
    NotFound,
    Timeout,
)
from kybern.machinery.kind import Kind

CHANGED = "the object has been modified; please apply your changes to the latest version and try again"


class Unexpected(ApiError):
    """An error that upstream has no class for, either: 500 without a reason."""

    code, reason = 500, ""


def _details(kind: Kind, name: str, uid: str = "") -> Details:
    return Details(name=name, group=kind.group, kind=kind.plural, uid=uid)


def not_found(kind: Kind, name: str) -> NotFound:
    return NotFound(f'{kind.group_resource} "{name}" not found', _details(kind, name))


def already_exists(kind: Kind, name: str, *, going: bool = False) -> AlreadyExists:
    """``going``: what is there is being deleted, so that it may be worth to try again."""
    why = "object is being deleted: " if going else ""
    return AlreadyExists(f'{why}{kind.group_resource} "{name}" already exists', _details(kind, name))


def conflict(kind: Kind, name: str, why: str = CHANGED, uid: str = "") -> Conflict:
    text = f'Operation cannot be fulfilled on {kind.group_resource} "{name}": {why}'
    return Conflict(text, _details(kind, name, uid))


def no_such_resource() -> NotFound:
    return NotFound("the server could not find the requested resource", Details())


def not_allowed() -> MethodNotAllowed:
    return MethodNotAllowed("the server does not allow this method on the requested resource", Details())


def is_ending(kind: Kind) -> MethodNotAllowed:
    """A kind whose definition is being deleted: nothing new of it may come."""
    message = "create not allowed while custom resource definition is terminating"
    return MethodNotAllowed(message, Details(group=kind.group, kind=kind.plural))


def expired(wanted: int, oldest: int) -> Expired:
    return Expired(f"too old resource version: {wanted} ({oldest})")


def too_new(wanted: int, current: int) -> Timeout:

    cause = Cause("", "ResourceVersionTooLarge", "Too large resource version")
    details = Details(causes=(cause,), retry_after_seconds=1)
    return Timeout(f"Too large resource version: {wanted}, current: {current}", details)
