"""A write as webhooks and policies see it: upstream's AdmissionRequest, in the version that they asked for.

A ``View`` is made for one kind as which the write is shown; its objects say their apiVersion and kind.
"""

from dataclasses import dataclass, replace

from kybern.admission.framework import Request
from kybern.admission.selecting import namespace_of
from kybern.auth.user import User
from kybern.machinery.kind import Kind, Raw

type Named = tuple[str, str, str]


@dataclass(slots=True)
class View:
    """``new`` and ``old`` are of ``kind``, or of its subresource's own kind."""

    request: Request
    kind: Kind
    new: Raw | None
    old: Raw | None


async def view(request: Request, kind: Kind) -> View:
    """The write as one of a kind. Raises ApiError when an object cannot be converted."""
    if kind is request.kind or sent_kind(request, kind) == sent_kind(request, request.kind):
        return View(request, kind, request.new, request.old)
    configured = request.configured
    assert configured is not None  # equivalent kinds come from there
    found = [
        None if one is None else await configured.versions.convert(one, request.kind, kind)
        for one in (request.new, request.old)
    ]
    return View(request, kind, *found)


def undisguised(request: Request) -> Request:
    """The write of a part of an object, when that is what the subresource is."""
    part = request.disguise
    if part is None:
        return request
    new, old = (None if one is None else part.show(one) for one in (request.new, request.old))
    return replace(request, new=new, old=old, disguise=None)


def sent_kind(request: Request, kind: Kind) -> Named:
    """Group, version and kind of the object that travels: a subresource's own, or that of the resource."""
    for sub in kind.subresources:
        if sub.name == request.subresource and sub.kind != kind.kind:
            return sub.group, sub.version, sub.kind
    return kind.group, kind.version, kind.kind


def user_info(user: User) -> Raw:
    found: Raw = {"username": user.name}
    if user.uid:
        found["uid"] = user.uid
    if user.groups:
        found["groups"] = list(user.groups)
    if user.extra:
        found["extra"] = {key: list(values) for key, values in user.extra.items()}
    return found


def _gvk(named: Named) -> Raw:
    return {"group": named[0], "version": named[1], "kind": named[2]}


def _gvr(kind: Kind) -> Raw:
    return {"group": kind.group, "version": kind.version, "resource": kind.plural}


def admission_request(seen: View) -> Raw:
    """Everything but uid and the objects."""
    request = seen.request
    found: Raw = {
        "kind": _gvk(sent_kind(request, seen.kind)),
        "resource": _gvr(seen.kind),
        "requestKind": _gvk(sent_kind(request, request.kind)),
        "requestResource": _gvr(request.kind),
        "operation": request.operation,
        "userInfo": user_info(request.user),
        "dryRun": request.dry_run,
        "options": request.options or None,
    }
    if request.subresource:
        found["subResource"] = found["requestSubResource"] = request.subresource
    if request.name:
        found["name"] = request.name
    namespace = namespace_of(request)
    if namespace:
        found["namespace"] = namespace
    return found
