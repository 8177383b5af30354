"""From a request for a resource to the verb or subresource that answers it.

The tables at the end say which subresource is answered where; everything else is a generic verb.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol

from kybern.apiserver import body, options, problems
from kybern.apiserver.answer import Answer
from kybern.apiserver.engine import Call
from kybern.apiserver.generic.create import create
from kybern.apiserver.generic.delete import delete
from kybern.apiserver.generic.deletecollection import deletecollection
from kybern.apiserver.generic.get import get
from kybern.apiserver.generic.list import list_
from kybern.apiserver.generic.patch import APPLY_PATCH, patch_
from kybern.apiserver.generic.update import update
from kybern.apiserver.subresources import binding, eviction, namespace, scale
from kybern.machinery.errors import BadRequest
from kybern.machinery.kind import Kind, Raw

OWN = ("status", "resize", "ephemeralcontainers", "approval")
"""Subresources through which the object itself is read and written."""


class Sent(Protocol):
    """What a client sent."""

    @property
    def content_type(self) -> str: ...

    async def read(self) -> bytes: ...


type Verb = Callable[[Call, Sent], Awaitable[Answer]]


async def _get(call: Call, _sent: Sent) -> Answer:
    return await get(call)


async def _list(call: Call, _sent: Sent) -> Answer:
    return await list_(call)


async def _create(call: Call, sent: Sent) -> Answer:
    call.options = options.write_options(call.query, "CreateOptions")
    raw = body.decode(call, await sent.read(), sent.content_type)
    return await create(call, raw)


async def _update(call: Call, sent: Sent) -> Answer:
    call.options = options.write_options(call.query, "UpdateOptions")
    raw = body.decode(call, await sent.read(), sent.content_type)
    return await update(call, raw)


async def _patch(call: Call, sent: Sent) -> Answer:
    _patch_options(call, sent)
    return await patch_(call, await sent.read(), sent.content_type)


def _patch_options(call: Call, sent: Sent) -> None:
    applying = body.media_type(sent.content_type) == APPLY_PATCH
    wrong = options.patch_causes(call.query, applying=applying)
    call.options = options.write_options(call.query, "PatchOptions", wrong)


async def _delete(call: Call, sent: Sent) -> Answer:
    asked = options.delete_options(call.query, body.deletion(await sent.read(), sent.content_type))
    call.options.dry_run = asked.dry_run
    return await delete(call, asked)


async def _deletecollection(call: Call, sent: Sent) -> Answer:
    asked = options.delete_options(call.query, body.deletion(await sent.read(), sent.content_type))
    call.options.dry_run = asked.dry_run
    return await deletecollection(call, asked)


async def _finalize(call: Call, sent: Sent) -> Answer:
    call.options = options.write_options(call.query, "UpdateOptions")
    return await namespace.finalize(call, body.decode(call, await sent.read(), sent.content_type))


async def _scale_get(call: Call, _sent: Sent) -> Answer:
    return await scale.get(call)


async def _scale_put(call: Call, sent: Sent) -> Answer:
    call.options = options.write_options(call.query, "UpdateOptions")
    return await scale.put(call, await sent.read(), sent.content_type)


async def _scale_patch(call: Call, sent: Sent) -> Answer:
    _patch_options(call, sent)
    return await scale.patch_(call, await sent.read(), sent.content_type)


async def _sent_as(call: Call, sent: Sent, kind: Kind) -> Raw:
    call.options = options.write_options(call.query, "CreateOptions")
    raw = body.decode(call, await sent.read(), sent.content_type, kind, kind.schema)
    metadata = raw.setdefault("metadata", {})
    said = metadata.get("namespace") or ""
    if said and said != call.namespace:
        raise BadRequest(
            "the namespace of the provided object does not match the namespace sent on the request"
        )
    return raw


BINDING = Kind("", "v1", "Binding", "bindings", namespaced=True, schema="io.k8s.api.core.v1.Binding")
EVICTION = Kind(
    "policy", "v1", "Eviction", "evictions", namespaced=True, schema="io.k8s.api.policy.v1.Eviction"
)


async def _bind(call: Call, sent: Sent) -> Answer:
    return await binding.bind(call, await _sent_as(call, sent, BINDING))


async def _evict(call: Call, sent: Sent) -> Answer:
    return await eviction.evict(call, await _sent_as(call, sent, EVICTION))


async def bind_by_name(call: Call, sent: Sent) -> Answer:
    """A Binding posted to bindings names its pod in its metadata."""
    raw = await _sent_as(call, sent, BINDING)
    call.name = raw["metadata"].get("name") or ""
    pods = call.engine.table.kind("", "pods")
    assert pods is not None
    call.kind = pods
    return await binding.bind(call, raw)


GENERIC: Mapping[str, Verb] = {
    "get": _get,
    "list": _list,
    "create": _create,
    "update": _update,
    "patch": _patch,
    "delete": _delete,
    "deletecollection": _deletecollection,
}
SUBRESOURCES: dict[tuple[str, str], Verb] = {
    ("scale", "get"): _scale_get,
    ("scale", "update"): _scale_put,
    ("scale", "patch"): _scale_patch,
    ("binding", "create"): _bind,
    ("eviction", "create"): _evict,
    ("finalize", "update"): _finalize,
}


# Kinds that are answered and never kept. The server adds reviews, which need its authorizers.
UNSTORED: dict[tuple[str, str], Verb] = {("bindings", "create"): bind_by_name}


def verb_of(call: Call, verb: str) -> Verb:
    """What answers. Raises MethodNotAllowed for a verb that the resource does not have, NotFound for no such path."""
    kind = call.kind
    if not call.subresource:
        if verb == "create" and kind.custom and verb not in kind.verbs:
            raise problems.is_ending(kind)
        if verb not in kind.verbs or not _placed(call, verb):
            raise problems.not_allowed()
        return UNSTORED.get((kind.plural, verb)) or GENERIC[verb]
    found = next((sub for sub in kind.subresources if sub.name == call.subresource), None)
    if found is None:
        raise problems.not_found(kind, call.name) if kind.custom else problems.no_such_resource()
    if verb not in found.verbs:
        raise problems.not_allowed()
    if call.subresource in OWN:
        return GENERIC[verb]
    special = SUBRESOURCES.get((call.subresource, verb))
    if special is None:
        raise problems.no_such_resource()
    return special


def _placed(call: Call, verb: str) -> bool:
    """Objects of namespaced kinds are made and removed within one namespace; an object is named where it must be."""
    named = bool(call.name)
    if verb in ("create", "deletecollection"):
        return not named and (bool(call.namespace) or not call.kind.namespaced)
    if verb in ("update", "patch", "delete", "get"):
        return named and (bool(call.namespace) or not call.kind.namespaced)
    return True
