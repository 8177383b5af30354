"""Server-side apply: a manager says which fields an object shall have, and gets them unless others manage them.

What is sent is not an object but a part of one: it is put on top of the present object (of nothing, when there is none
yet), and the result is decoded like a body and goes the way of an update or a creation.
"""

import copy
from functools import partial
from typing import Any

from kybern.apiserver import body, problems
from kybern.apiserver.answer import One
from kybern.apiserver.engine import Call
from kybern.apiserver.generic import create, owners, prepare, update
from kybern.apiserver.generic.current import Current
from kybern.auth import refusal
from kybern.auth.attributes import Attributes, Verdict
from kybern.auth.unsettled import settled
from kybern.machinery import codec
from kybern.machinery.apply import managers, merge
from kybern.machinery.apply.lists import Unkeyed
from kybern.machinery.apply.managers import Managed
from kybern.machinery.apply.update import updated
from kybern.machinery.errors import AlreadyExists, BadRequest, NotFound
from kybern.machinery.kind import Raw

MEDIA = "application/apply-patch+yaml"
_BEFORE = "before-first-apply"


async def apply_(call: Call, data: bytes) -> One:
    config = read(call, data)

    async def making(found: Current) -> Raw:
        return applied(call, config, found)

    try:
        return await update.change(call, making, owned=True)
    except NotFound:
        if call.subresource:
            raise
    try:
        return await _created(call, config)
    except AlreadyExists:
        # Somebody else was faster.
        return await update.change(call, making, owned=True)


def applied(call: Call, config: Raw, found: Current) -> Raw:
    """The present object with what is applied. Raises ApplyConflict, Unexpected."""
    return _whole(call, *_applied(call, config, found.raw, owners.entries_of(found.raw)), config)


def read(call: Call, data: bytes) -> Raw:
    """What is applied: of the call's kind, and fit for its schema. Raises BadRequest, Unexpected."""
    config = _read(call, data)
    _check(call, config)
    return config


async def _created(call: Call, config: Raw) -> One:
    await _may_create(call)
    uid = (config.get("metadata") or {}).get("uid")
    if uid:
        why = f"uid mismatch: the provided object specified uid {uid}, and no existing object was found"
        raise problems.conflict(call.kind, call.name, why)
    raw, managed = _applied(call, config, owners.nothing(call.kind), {})
    return await create.create(call, _whole(call, raw, managed, config), owned=True)


async def _may_create(call: Call) -> None:
    """Who makes an object by applying must be allowed to create it. Raises Forbidden."""
    if call.engine.authorize is None:
        return
    kind = call.kind
    asked = Attributes(
        call.user, "create", kind.group, kind.version, kind.plural, "", call.namespace, call.name
    )
    decision = await settled(partial(call.engine.authorize, asked))
    if decision.verdict is not Verdict.ALLOW:
        raise refusal.forbidden(asked, decision.reason)


def _read(call: Call, data: bytes) -> Raw:
    """What is applied, as it was sent. Raises BadRequest."""
    strictly = call.options.validation != "Ignore"
    try:
        found, twice = _decoded(data, strictly)
    except BadRequest as problem:
        raise BadRequest(f"error decoding YAML: {problem.message}") from problem
    if found is None:
        found = {}
    if not isinstance(found, dict):
        what = {str: "string", list: "array", bool: "bool"}.get(type(found), "number")
        says = f"json: cannot unmarshal {what} into Go value of type map[string]interface {{}}"
        raise BadRequest(f"error decoding YAML: error unmarshaling JSON: while decoding JSON: {says}")
    if twice and call.options.validation == "Strict":
        raise BadRequest(f"error strict decoding YAML: {', '.join(twice)}")
    for text in twice:
        call.warn(text)
    return found


def _decoded(data: bytes, strictly: bool) -> tuple[Any, list[str]]:
    if data.lstrip()[:1] == b"{":
        # Nearly always JSON, which is read much faster; what it has twice is told as of YAML.
        try:
            found, twice = codec.decode_json(data, strictly)
        except BadRequest:
            return codec.decode_yaml(data, strictly)
        if not twice:
            return found, twice
    return codec.decode_yaml(data, strictly)


def _check(call: Call, config: Raw) -> None:
    """What is applied is of the kind that is asked for and fits its schema. Raises BadRequest."""
    kind = call.kind
    version, name = config.get("apiVersion") or "", config.get("kind") or ""
    group, _, short = str(version).rpartition("/")
    shown = f"{group}/{short}, Kind={name}"
    if (version, name) != (kind.api_version, kind.kind):
        raise BadRequest(f"invalid object type: {shown}")
    metadata = config.get("metadata") or {}
    if isinstance(metadata, dict) and metadata.get("managedFields") is not None:
        raise BadRequest("metadata.managedFields must be nil")
    wrong = list(owners.shape(call.engine, kind, call.subresource).root.wrong(config, ""))
    if wrong:
        lines = wrong[0] if len(wrong) == 1 else "errors:\n" + "\n".join(f"  {line}" for line in wrong)
        which = (
            f"{metadata.get('namespace', '')}/{metadata.get('name', '')}"
            if isinstance(metadata, dict)
            else "/"
        )
        raise problems.Unexpected(f"failed to create typed patch object ({which}; {shown}): {lines}")


def _applied(call: Call, config: Raw, live: Raw, managed: Managed) -> tuple[Raw, Managed]:
    """The object with what is applied, and who manages it then. Raises ApplyConflict."""
    try:
        return _merged(call, config, live, managed)
    except Unkeyed as error:
        # Of the present object; what is applied was checked.
        raise problems.Unexpected(f"failed to create typed live object: {error}") from error


def _merged(call: Call, config: Raw, live: Raw, managed: Managed) -> tuple[Raw, Managed]:
    shape = owners.shape(call.engine, call.kind, call.subresource)
    now, name = owners.now(call), call.options.manager
    if not managed:
        before = owners.writer(call, managers.UPDATE, _BEFORE)
        managed = updated(owners.nothing(call.kind), live, {}, shape, before, now)
    who = owners.writer(call, managers.APPLY, name)
    found = merge.carried(live, config, managed, shape, who, force=call.options.force)
    after = found.managed
    if found.new is not None and who in after:
        after = {**after, who: after[who].at(now)}
    raw = live if found.new is None else found.new
    if name == merge.KUBECTL:
        raw = merge.with_last_applied(raw, config)
    return copy.deepcopy(raw) if call.kind.custom else {**raw, "metadata": {**raw["metadata"]}}, after


def _whole(call: Call, raw: Raw, managed: Managed, config: Raw) -> Raw:
    """The result as an object: decoded, with defaults, and with the entries of its managers."""
    metadata = raw.setdefault("metadata", {})
    metadata.pop("managedFields", None)
    if call.kind.allow_unconditional_update and not (config.get("metadata") or {}).get("resourceVersion"):
        metadata.pop("resourceVersion", None)
    raw.update(apiVersion=call.kind.api_version, kind=call.kind.kind)
    body.checked(call, call.kind, raw, [])
    prepare.named(call, raw)
    prepare.place(call, raw)
    call.kind.rules.default(raw)
    entries = managers.listed(managed)
    if entries:
        raw["metadata"]["managedFields"] = entries
    return raw
