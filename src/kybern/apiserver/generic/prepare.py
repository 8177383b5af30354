"""What the server does to an object on its way to the store, and whether it may go there.

Upstream's rest.BeforeCreate and rest.BeforeUpdate: fields that are the server's own are put right, the kind's rules run,
and everything that is wrong is told at once.
"""

import copy
import os
import secrets
from collections.abc import Iterable

from kybern.apiserver import gated, problems
from kybern.apiserver.engine import Call
from kybern.apiserver.generic.current import Current
from kybern.apiserver.generic.parts import PARTS
from kybern.machinery import meta, names, times
from kybern.machinery.causes import invalid
from kybern.machinery.errors import BadRequest, Cause, Invalid
from kybern.machinery.kind import Kind, Raw

# No vowels and nothing that looks like another letter: generated names spell no words.
_LETTERS = "bcdfghjklmnpqrstvwxz2456789"
_LONGEST = 63
_RANDOM, _VERSION = ~(0xF << 76 | 0x3 << 62), 0x4 << 76 | 0x2 << 62
# Writes that change no wish: what they set was decided before.
_UNCOUNTED = ("status", "binding")
# Kinds whose finalizers need no domain, since upstream checks their metadata by the rules of custom kinds, too.
_PLAIN_FINALIZERS = (
    ("apiextensions.k8s.io", "customresourcedefinitions"),
    ("policy", "poddisruptionbudgets"),
    ("admissionregistration.k8s.io", "validatingadmissionpolicies"),
)
# Kinds whose own rules check a changed object as they check a new one, its metadata included.
_WHOLE_METADATA = (("", "configmaps"), ("", "secrets"), ("", "serviceaccounts"))
_DEDUPLICATED = (
    ".metadata.ownerReferences contains duplicate entries{when}; API server dedups owner references in 1.20+, "
    "and may reject such requests as early as 1.24; please fix your requests; duplicate UID(s) observed: {uids}"
)


def generated(prefix: str) -> str:
    """A name that starts with the prefix, cut so that the whole fits a label."""
    return prefix[: _LONGEST - 5] + "".join(secrets.choice(_LETTERS) for _ in range(5))


def _uid() -> str:
    """A random UUID (version 4), without the object that ``uuid`` makes first."""
    found = f"{int.from_bytes(os.urandom(16)) & _RANDOM | _VERSION:032x}"
    return f"{found[:8]}-{found[8:12]}-{found[12:16]}-{found[16:20]}-{found[20:]}"


def place(call: Call, raw: Raw) -> None:
    """The object belongs to the namespace of the path. Raises BadRequest."""
    metadata = raw["metadata"]
    said = metadata.get("namespace") or ""
    if not call.kind.namespaced:
        metadata.pop("namespace", None)
        return
    if said and said != call.namespace:
        raise BadRequest(
            "the namespace of the provided object does not match the namespace sent on the request"
        )
    metadata["namespace"] = call.namespace


def named(call: Call, raw: Raw) -> None:
    """The body names the object of the path. Raises BadRequest."""
    said = raw["metadata"].get("name") or ""
    if not said:
        raise BadRequest(
            f"the name of the object ({call.name} based on URL) was undeterminable: name must be provided"
        )
    if said != call.name:
        raise BadRequest(f"the name of the object ({said}) does not match the name on the URL ({call.name})")


def new(call: Call, raw: Raw) -> None:
    """Fill in what the server says of a new object; run the kind's rules."""
    kind, metadata = call.kind, raw["metadata"]
    for key in ("deletionTimestamp", "deletionGracePeriodSeconds", "selfLink"):
        metadata.pop(key, None)
    metadata["uid"] = _uid()
    metadata["creationTimestamp"] = times.of_unix(call.engine.clock())
    if not metadata.get("name") and metadata.get("generateName"):
        metadata["name"] = generated(metadata["generateName"])
    if kind.has_status and not kind.status_on_create:
        raw.pop("status", None)
        kind.rules.default(raw)
    gated.drop(kind, raw, None, call.engine.gates)
    kind.rules.on_create(raw)
    if kind.generation is not None:
        metadata["generation"] = 1
    deduplicated(call, metadata)


def deduplicated(call: Call, metadata: Raw, when: str = "") -> None:
    """Owner references once each, by uid."""
    owners = metadata.get("ownerReferences")
    if not owners or len(owners) < 2:
        return
    found: dict[str, Raw] = {}
    twice: list[str] = []
    for owner in owners:
        uid = owner.get("uid", "")
        if uid in found and found[uid] == owner:
            if uid not in twice:
                twice.append(uid)
            continue
        found[uid if uid not in found else f"{uid}/{len(found)}"] = owner
    if twice:
        metadata["ownerReferences"] = list(found.values())
        call.warn(_DEDUPLICATED.format(when=when, uids=", ".join(twice)))


def check_new(call: Call, raw: Raw) -> None:
    """Raises Invalid. Then the kind's warnings are given."""
    kind, metadata = call.kind, raw["metadata"]
    causes = list(meta.validate(metadata, kind.namespaced, kind.valid_name or names.dns1123_subdomain))
    if not kind.custom and (kind.group, kind.plural) not in _PLAIN_FINALIZERS:
        causes += meta.qualified_finalizers(metadata.get("finalizers"), "metadata.finalizers")
    causes += kind.rules.validate(raw, None)
    _refuse(kind, metadata.get("name") or "", causes)
    kind.rules.forget(raw)
    for text in kind.rules.warnings(raw, None):
        call.warn(text)


def _refuse(kind: Kind, name: str, causes: Iterable[Cause]) -> None:
    found = list(causes)
    if found:
        # Upstream's Event is one type for both groups, and bears the name of the older one.
        group = "" if kind.storage == "events" else kind.group
        raise Invalid.of(group, kind.kind, name, found)


def versioned(call: Call, raw: Raw, current: Current) -> None:
    """A write that names a version means that very version; what a patch made names the one that it was made from.

    Raises Conflict.
    """
    kind, metadata = call.kind, raw["metadata"]
    said = metadata.get("resourceVersion") or ""
    if not said:
        if not kind.allow_unconditional_update:
            cause = invalid("metadata.resourceVersion", 0, "must be specified for an update")
            raise Invalid.of(kind.group, kind.plural, call.name, [cause])
        return
    if said == "0" and kind.allow_unconditional_update:
        return
    if not said.isdecimal():
        raise problems.Unexpected(f'strconv.ParseUint: parsing "{said}": invalid syntax')
    if said != str(current.revision):
        raise problems.conflict(kind, call.name)


def same_object(call: Call, raw: Raw, current: Current) -> None:
    """An update that names a uid means that very object. Raises Conflict."""
    said = raw["metadata"].get("uid") or ""
    if said and said != current.uid:
        why = (
            f"StorageError: invalid object, Code: 4, Key: {call.key}, ResourceVersion: 0, AdditionalErrorMsg: "
            f"Precondition failed: UID in precondition: {said}, UID in object meta: {current.uid}"
        )
        raise problems.conflict(call.kind, call.name, why)


def changed(call: Call, raw: Raw, current: Current) -> None:
    """Put right what an update may not change, or need not say; run the kind's rules."""
    kind, old = call.kind, current.raw
    _take_part(call, raw, old)
    metadata, was = raw["metadata"], old["metadata"]
    _owned(metadata, was)
    metadata["resourceVersion"] = str(current.revision)
    if call.subresource == "status":
        _only_status(raw, old)
        kind.rules.on_status(raw, old)
        kind.rules.stamp_status(raw, old, times.of_unix(call.engine.clock()))
    elif not call.subresource:
        if kind.has_status:
            _keep(raw, old, "status")
        gated.drop(kind, raw, old, call.engine.gates)
        kind.rules.on_update(raw, old)
    if kind.generation is not None and call.subresource not in _UNCOUNTED and kind.generation(raw, old):
        metadata["generation"] = (was.get("generation") or 0) + 1
    deduplicated(call, metadata, " after mutating admission happens")


def _take_part(call: Call, raw: Raw, old: Raw) -> None:
    part = PARTS.get((call.kind.plural, call.subresource))
    if part is not None:
        metadata = raw["metadata"]
        found = part.take(raw, old)
        raw.clear()
        raw.update(copy.deepcopy(found), metadata=metadata)
        part.stamp(raw, old, times.of_unix(call.engine.clock()))


def _owned(metadata: Raw, was: Raw) -> None:
    """What the server says of an object: what is left out stays, a deletion can't be taken back."""
    for key in ("uid", "deletionGracePeriodSeconds"):
        if not metadata.get(key) and key in was:
            metadata[key] = was[key]
    if was.get("deletionTimestamp"):
        metadata["deletionTimestamp"] = was["deletionTimestamp"]
    for key in ("generation", "creationTimestamp"):
        _keep(metadata, was, key)
    metadata.pop("selfLink", None)


def _keep(new_part: Raw, old_part: Raw, key: str) -> None:
    if key in old_part:
        new_part[key] = copy.deepcopy(old_part[key])
    else:
        new_part.pop(key, None)


def _only_status(raw: Raw, old: Raw) -> None:
    for key in (raw.keys() | old.keys()) - {"metadata", "status", "apiVersion", "kind"}:
        _keep(raw, old, key)


def _metadata_changed(kind: Kind, new: Raw, old: Raw) -> list[Cause]:
    """What is wrong with the metadata of a changed object, as often as upstream finds it.

    It asks for every kind what it asks of new objects, and what it asks of changed ones (validateCommonFields); the kind's
    own rules ask the latter once more, and those of some kinds both.
    """
    changed = list(meta.validate_update(new, old))
    if not changed and not new.get("finalizers"):
        return changed  # nothing else of an object that exists can be wrong as a new one's
    made = list(meta.validate(new, kind.namespaced, names.path_segment))
    whole = (kind.group, kind.plural) in _WHOLE_METADATA
    return [*made, *changed, *changed, *(made if whole else ())]


def check_changed(call: Call, raw: Raw, current: Current) -> None:
    """Raises Invalid. Then the kind's warnings are given."""
    kind, old = call.kind, current.raw
    part = PARTS.get((kind.plural, call.subresource))
    causes = _metadata_changed(kind, raw["metadata"], old["metadata"])
    if part is not None:
        causes += part.check(raw, old)
    elif call.subresource == "status":
        causes += kind.rules.validate_status(raw, old)
    elif not call.subresource:
        causes += kind.rules.validate(raw, old)
    _refuse(kind, call.name, causes)
    kind.rules.forget(raw)
    if not call.subresource or (kind.custom and call.subresource == "status"):
        for text in kind.rules.warnings(raw, old):
            call.warn(text)
