"""Change an object by a patch: JSON patch, merge patch or strategic merge patch.

The patch is applied to the present object as clients see it, the result is decoded like a body, and goes the way of an
update. Without a resourceVersion in the patch the whole is repeated on what others wrote meanwhile.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from kybern.apiserver import body
from kybern.apiserver.answer import One
from kybern.apiserver.engine import Call
from kybern.apiserver.generic import apply as apply_
from kybern.apiserver.generic import prepare, update
from kybern.apiserver.generic.current import Current
from kybern.machinery import codec, written
from kybern.machinery.causes import invalid
from kybern.machinery.errors import BadRequest, Invalid, UnsupportedMediaType
from kybern.machinery.kind import Kind, Raw
from kybern.machinery.patch import strategic
from kybern.machinery.patch.json import json_patch
from kybern.machinery.patch.merge import merge_patch
from kybern.machinery.patch.values import printed
from kybern.machinery.schema import Schema

JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"
STRATEGIC_PATCH = "application/strategic-merge-patch+json"
APPLY_PATCH = "application/apply-patch+yaml"

_NOT_STRATEGIC = (
    "the body of the request was in an unknown format - accepted media types include: "
    f"{JSON_PATCH}, {MERGE_PATCH}, {APPLY_PATCH}"
)

type Apply = Callable[[Raw], Raw]

_UNFIT = re.compile(r"json: cannot unmarshal (\w+)(?: \S+)? into Go .* of type (\[\]|map\[)\S*")
_WITHIN = {"object": "map", "array": "slice", "number": "int64"}
_RESTORED = {"[]": "slice", "map[": "map"}


@dataclass(frozen=True, slots=True)
class Patch:
    """What a body does to an object. ``sent`` is the patch itself where messages quote it, else they quote the result."""

    apply: Apply
    sent: Any = None

    def refused(self, result: bytes, says: str) -> Invalid:
        """The result is no object of its kind."""
        if self.sent is None:
            quoted = codec.encode_json(written.patched(codec.decode_json(result)[0])).decode()
        else:
            quoted, says = printed(self.sent), _UNFIT.sub(_unrestored, says)
        return Invalid.of("", "", "", [invalid("patch", quoted, says)])


def _unrestored(found: re.Match[str]) -> str:
    """Upstream reads the result of a strategic merge without JSON between, and says it in other words."""
    return f"cannot restore {_RESTORED[found[2]]} from {_WITHIN.get(found[1], found[1])}"


def reader(kind: Kind, data: bytes, content_type: str, schema: str = "") -> Patch:
    """What a patch body does to an object. Raises BadRequest for a body that is no patch."""
    media = body.media_type(content_type)
    if kind.custom and media not in (JSON_PATCH, MERGE_PATCH):
        raise UnsupportedMediaType(_NOT_STRATEGIC)
    if media not in (JSON_PATCH, MERGE_PATCH, STRATEGIC_PATCH):
        raise body.unsupported()
    parsed = _parsed(data)
    if media == JSON_PATCH:
        return Patch(lambda old: json_patch(old, parsed))
    if media == MERGE_PATCH:
        return Patch(lambda old: merge_patch(old, parsed))
    node = Schema.load().of(schema or kind.schema)
    return Patch(lambda old: strategic.merge(old, parsed, node), sent=parsed)


def _parsed(data: bytes) -> Any:
    try:
        found, _ = codec.decode_json(data)
    except BadRequest as problem:
        raise BadRequest(f"error decoding patch: {problem.message}") from problem
    return found


async def patch_(call: Call, data: bytes, content_type: str) -> One:
    applying = body.media_type(content_type) == APPLY_PATCH
    if applying:
        return await apply_.apply_(call, data)
    try:
        patch = reader(call.kind, data, content_type)
    except UnsupportedMediaType:
        call.warnings.clear()  # no handler takes such a patch, and it is a handler that warns
        raise
    # What a patch says twice, its result says once: it must be told by the patch itself.
    twice = [] if call.options.validation == "Ignore" else codec.decode_json(data, duplicates=True)[1]

    async def making(found: Current) -> Raw:
        return patched(call, patch, found.raw, twice)

    return await update.change(call, making)


def decoded(call: Call, patch: Patch, raw: Raw, twice: list[str] | None = None) -> Raw:
    """What a patch has made, fit for its kind; in place. Raises Invalid when it is no object of that."""
    before = codec.encode_json(raw)
    try:
        body.identify(call.kind, body.headed(raw))
        body.checked(call, call.kind, raw, twice or [])
    except BadRequest as problem:
        says = problem.message.partition(" cannot be handled as ")[2].partition(": ")[2] or problem.message
        raise patch.refused(before, says) from problem
    return raw


def patched(call: Call, patch: Patch, old: Raw, twice: list[str] | None = None) -> Raw:
    """The object that a patch makes, decoded and with defaults. Raises Invalid when it is none."""
    raw = decoded(call, patch, patch.apply(old), twice)
    prepare.named(call, raw)
    prepare.place(call, raw)
    call.kind.rules.default(raw)
    return raw
