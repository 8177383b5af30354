"""What can be asked of an API server, typed; over two primitives that a transport provides.

``rest.Client`` is the transport over the network; the simulation of the tests is another one. Every request has a
timeout; every failure is one of ``kybern.machinery.errors``, also those of the network: no answer is ServiceUnavailable
(nothing is known about a write that failed so), too late an answer is Timeout.
"""

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from typing import Any, cast
from urllib.parse import urlencode

import msgspec

from kybern.api.meta_v1 import ListMeta, OwnerReference
from kybern.client import paths
from kybern.client.difference import difference
from kybern.machinery import errors
from kybern.machinery.kind import Raw
from kybern.machinery.struct import Object, Struct, decoder, encode, replace

PATIENCE = 10.0
JSON = "application/json"
# One page of a list: large enough to be few requests, small enough to decode without a peak of memory.
PAGE = 500

PATCHES: Mapping[str, str] = {
    "json": "application/json-patch+json",
    "merge": "application/merge-patch+json",
    "strategic": "application/strategic-merge-patch+json",
    "apply": "application/apply-patch+yaml",
}


class PartialMeta(Struct):
    """As much of the metadata as ownership and deletion are about; the rest is not worth the memory."""

    creation_timestamp: datetime | None = None
    deletion_timestamp: datetime | None = None
    finalizers: tuple[str, ...] = ()
    name: str = ""
    namespace: str = ""
    owner_references: tuple[OwnerReference, ...] = ()
    resource_version: str = ""
    uid: str = ""


class Partial(Object, kw_only=True):
    """The metadata of an object of any kind: what is asked for when nothing else of it matters. See ``discovery``."""

    metadata: PartialMeta = PartialMeta()


class _Items[T](msgspec.Struct):
    items: tuple[T, ...] = ()
    metadata: ListMeta = ListMeta()


def accept(kind: type[Object], suffix: str = "") -> str:
    """The Accept header that asks for what the type can hold."""
    if not issubclass(kind, Partial):
        return JSON
    return f"{JSON};as=PartialObjectMetadata{suffix};g=meta.k8s.io;v=v1,{JSON}"


def query(**given: str | int | bool | None) -> str:
    """A query string of what is set, with its question mark."""
    found = {
        key.rstrip("_"): str(value).lower() if isinstance(value, bool) else value
        for key, value in given.items()
        if value not in ("", None, False)
    }
    return f"?{urlencode(found)}" if found else ""


_NOT_FOUND = 404
_UNKNOWN = "the server could not find the requested resource"


def error_of(code: int, body: bytes) -> errors.ApiError:
    """The error that an answer stands for: by its Status, or by its code when it has none."""
    try:
        status = msgspec.json.decode(body)
    except msgspec.DecodeError:
        status = None
    if not isinstance(status, dict) or status.get("kind") != "Status":
        # What client-go says of a path that no server knows; "404 page not found" would tell nobody anything.
        text = _UNKNOWN if code == _NOT_FOUND else body[:500].decode(errors="replace").strip()
        status = {"message": text or f"the server answered {code}"}
    found = errors.REASONS.get(status.get("reason") or "") or _BY_CODE.get(code, errors.InternalError)
    raw = status.get("details") or {}
    causes = tuple(
        errors.Cause(cause.get("field", ""), cause.get("reason", ""), cause.get("message", ""))
        for cause in raw.get("causes") or ()
    )
    known = {key: raw[key] for key in ("name", "group", "kind", "uid") if raw.get(key)}
    details = errors.Details(**known, causes=causes, retry_after_seconds=raw.get("retryAfterSeconds") or 0)
    return found(status.get("message") or "", details)


_BY_CODE: Mapping[int, type[errors.ApiError]] = {
    error.code: error for error in reversed(tuple(errors.REASONS.values()))
}


class Verbs(ABC):
    """The verbs, for typed objects. A transport gives ``request`` and ``stream``."""

    @abstractmethod
    async def request(
        self,
        method: str,
        path: str,
        body: bytes | Any = None,
        timeout: float = PATIENCE,  # noqa: ASYNC109  # every call has one, and the caller says how long it may take
        *,
        content_type: str = JSON,
        accept: str = JSON,
    ) -> bytes:
        """Ask, and give the body of a successful answer. ``path`` has its query; ``body`` bytes or a JSON value."""

    @abstractmethod
    def stream(
        self, path: str, *, accept: str = JSON, silence: float = 90.0
    ) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        """The chunks of an answer that goes on; ``silence`` in seconds ends it with Timeout."""

    async def get[T: Object](self, kind: type[T], name: str, namespace: str = "") -> T:
        path = paths.one(kind, namespace, name)
        return decoder(kind).decode(await self.request("GET", path, accept=accept(kind)))

    async def list[T: Object](
        self, kind: type[T], namespace: str = "", label_selector: str = "", field_selector: str = ""
    ) -> tuple[tuple[T, ...], str]:
        """All objects that match, page by page, and the revision at which they are all true."""
        path = paths.collection(kind, namespace)
        # A type made at run time: msgspec resolves it, no type checker can.
        pages = decoder(cast("Any", _Items)[kind])
        found: list[T] = []
        token = ""
        while True:
            asked = query(
                labelSelector=label_selector, fieldSelector=field_selector, limit=PAGE, continue_=token
            )
            body = await self.request("GET", path + asked, timeout=30.0, accept=accept(kind, "List"))
            page = pages.decode(body)
            found.extend(page.items)
            token = page.metadata.continue_
            if not token:
                return tuple(found), page.metadata.resource_version

    async def create[T: Object](self, object: T) -> T:  # noqa: A002  # the API's word
        kind = type(object)
        path = paths.collection(kind, object.metadata.namespace)  # type: ignore[attr-defined]  # every Object has metadata
        return decoder(kind).decode(await self.request("POST", path, encode(object)))

    async def update[T: Object](self, object: T, subresource: str = "") -> T:  # noqa: A002  # the API's word
        """Replace the whole object: fields that the type does not know are lost, so ``patch`` is the rule."""
        kind = type(object)
        return decoder(kind).decode(await self.request("PUT", _path(object, subresource), encode(object)))

    async def patch[T: Object](self, old: T, new: T, subresource: str = "") -> T:
        """Send what differs, on condition that the server still has ``old``'s revision (Conflict otherwise)."""
        changed = difference(msgspec.json.decode(encode(old)), msgspec.json.decode(encode(new)))
        if not changed:
            return new
        metadata: Raw = changed.setdefault("metadata", {})
        if version := old.metadata.resource_version:  # type: ignore[attr-defined]  # every Object has metadata
            metadata["resourceVersion"] = version
        path = _path(old, subresource)
        answer = await self.request("PATCH", path, changed, content_type=PATCHES["merge"])
        return decoder(type(old)).decode(answer)

    async def patch_raw[T: Object](
        self,
        kind: type[T],
        namespace: str,
        name: str,
        body: Any,
        type: str = "strategic",  # noqa: A002  # kubectl's word
        subresource: str = "",
    ) -> T:
        """Send a patch as it is: ``type`` is strategic, merge, json or apply."""
        path = paths.one(kind, namespace, name, subresource)
        return decoder(kind).decode(await self.request("PATCH", path, body, content_type=PATCHES[type]))

    async def delete(
        self,
        object: Object | type[Object],  # noqa: A002  # the API's word
        name: str = "",
        namespace: str = "",
        *,
        propagation: str = "",
        grace_seconds: int | None = None,
    ) -> None:
        """Delete exactly this object (its uid is a precondition), or whatever bears the name."""
        options: Raw = {"kind": "DeleteOptions", "apiVersion": "v1"}
        if propagation:
            options["propagationPolicy"] = propagation
        if grace_seconds is not None:
            options["gracePeriodSeconds"] = grace_seconds
        if isinstance(object, Object):
            options["preconditions"] = {"uid": object.metadata.uid}  # type: ignore[attr-defined]
            path = _path(object)
        else:
            path = paths.one(object, namespace, name)
        await self.request("DELETE", path, options)


def _path(object: Object, subresource: str = "") -> str:  # noqa: A002  # the API's word
    metadata = object.metadata  # type: ignore[attr-defined]  # every Object has metadata
    return paths.one(type(object), metadata.namespace, metadata.name, subresource)


__all__ = ["JSON", "PATCHES", "Partial", "Struct", "Verbs", "accept", "error_of", "query", "replace"]
