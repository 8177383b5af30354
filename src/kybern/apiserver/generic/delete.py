"""Remove an object: at once, after a grace period, or when its last finalizer is gone.

The order of questions is upstream's: preconditions, admission, then grace; then the finalizers that the propagation
policy asks for. What cannot go yet is marked with a deletionTimestamp, and goes with the write that takes away its
last finalizer (``finished``).
"""

from enum import Enum

from kybern.apiserver import problems
from kybern.apiserver.answer import Answer, One, success
from kybern.apiserver.crd import conditions
from kybern.apiserver.engine import Call
from kybern.apiserver.generic import admit, create, current
from kybern.apiserver.generic.current import Current
from kybern.apiserver.options import DeleteOptions
from kybern.machinery import times
from kybern.machinery.errors import Conflict, Details
from kybern.machinery.kind import Kind, Raw
from kybern.storage.store import RevisionMismatch

ORPHAN, FOREGROUND = "orphan", "foregroundDeletion"
# Kinds whose deletion answers with the object that was, where others answer with a Status.
RETURNED = frozenset({
    ("", "namespaces"), ("", "persistentvolumeclaims"), ("", "persistentvolumes"), ("", "pods"),
    ("", "podtemplates"), ("", "resourcequotas"), ("", "serviceaccounts"), ("", "services"),
    ("resource.k8s.io", "deviceclasses"), ("resource.k8s.io", "resourceclaims"),
    ("resource.k8s.io", "resourceclaimtemplates"), ("resource.k8s.io", "resourceslices"),
    ("storage.k8s.io", "csidrivers"), ("storage.k8s.io", "csinodes"), ("storage.k8s.io", "storageclasses"),
    ("storage.k8s.io", "volumeattachments"), ("storage.k8s.io", "volumeattributesclasses"),
})  # fmt: skip
# Kinds that are left to their dependents' owners when nothing is said of propagation.
_ORPHANING = frozenset({("", "replicationcontrollers"), ("batch", "jobs")})


_JOBS = (
    "child pods are preserved by default when jobs are deleted; set propagationPolicy=Background to remove them or set "
    "propagationPolicy=Orphan to suppress this warning"
)


async def delete(call: Call, options: DeleteOptions) -> Answer:
    if (
        (call.kind.group, call.kind.plural) == ("batch", "jobs")
        and not options.propagation
        and options.orphan is None
    ):
        call.warn(_JOBS)
    for _ in current.tries():
        found = await current.read(call)
        preconditions(call, options, found)
        asked = admit.request(call, "DELETE", None, found.raw, options.raw)
        await admit.mutate(call, asked)
        await admit.validate(call, asked)
        try:
            return await _deleted(call, options, found)
        except RevisionMismatch as mismatch:
            if mismatch.current is None:
                raise problems.not_found(call.kind, call.name) from None
    raise problems.conflict(call.kind, call.name)


def preconditions(call: Call, options: DeleteOptions, found: Current) -> None:
    """Raises Conflict; upstream names the kind here, not the resource."""
    if options.uid and options.uid != found.uid:
        raise _unmet(call, "UID", options.uid, found.uid, "deleted and then recreated")
    if options.version and options.version != str(found.revision):
        raise _unmet(call, "ResourceVersion", options.version, str(found.revision), "modified")


def _unmet(call: Call, what: str, wanted: str, is_: str, happened: str) -> Conflict:
    kind = call.stored
    if (kind.group, kind.plural) == ("", "namespaces"):
        why = f"Precondition failed: {what} in precondition: {wanted}, {what} in object meta: {is_}"
        return problems.conflict(kind, call.name, why)
    group = "" if kind.storage == "events" else kind.group
    shown = f"{kind.kind}.{group}" if group else kind.kind
    text = (
        f'Operation cannot be fulfilled on {shown} "{call.name}": the {what} in the precondition ({wanted}) does not '
        f"match the {what} in record ({is_}). The object might have been {happened}"
    )
    return Conflict(text, Details(name=call.name, group=group, kind=kind.kind))


class _Grace(Enum):
    """``NONE``: the kind knows no grace. ``PENDING``: it is on its way already. ``GIVEN``: the object was marked."""

    NONE = "none"
    PENDING = "pending"
    GIVEN = "given"


def _grace(call: Call, options: DeleteOptions, raw: Raw) -> _Grace:
    """Upstream's rest.BeforeDelete: mark the object with its grace period, which later calls may only shorten."""
    graceful, metadata = call.kind.graceful, raw["metadata"]
    if graceful is None:
        return _Grace.NONE
    asked = 1 if options.grace is not None and options.grace < 0 else options.grace
    if metadata.get("deletionTimestamp"):
        left = metadata.get("deletionGracePeriodSeconds") or 0
        if asked is None or asked >= left:
            return _Grace.PENDING
        began = times.to_unix(metadata["deletionTimestamp"]) - left
        metadata["deletionTimestamp"] = times.of_unix(began + asked)
        metadata["deletionGracePeriodSeconds"] = asked
        return _Grace.GIVEN
    seconds = graceful(raw, asked)
    if seconds is None:
        return _Grace.NONE
    metadata["deletionTimestamp"] = times.of_unix(call.engine.clock() + seconds)
    metadata["deletionGracePeriodSeconds"] = seconds
    _count(metadata)
    return _Grace.GIVEN


def _count(metadata: Raw) -> None:
    """Being marked counts as a change of what is wished."""
    if metadata.get("generation"):
        metadata["generation"] += 1


def finalizers_of(call: Call, options: DeleteOptions, raw: Raw) -> list[str]:
    """The finalizers after the propagation policy: orphan and foregroundDeletion exclude each other."""
    held = list(raw["metadata"].get("finalizers") or ())
    policy = options.propagation
    if not policy and options.orphan is not None:
        policy = "Orphan" if options.orphan else "Background"
    if not policy:
        if ORPHAN in held or FOREGROUND in held:
            return held
        policy = "Orphan" if (call.kind.group, call.kind.plural) in _ORPHANING else "Background"
    found = [name for name in held if name not in (ORPHAN, FOREGROUND)]
    if policy == "Orphan":
        found.append(ORPHAN)
    elif policy == "Foreground":
        found.append(FOREGROUND)
    return found


async def _deleted(call: Call, options: DeleteOptions, found: Current) -> Answer:
    raw, metadata = found.raw, found.raw["metadata"]
    before = current.value_of(call, raw)
    if call.kind.plural == "customresourcedefinitions" and not metadata.get("deletionTimestamp"):
        conditions.condemned(raw, times.of_unix(call.engine.clock()))
        return await _marked(call, options, found, before)
    grace = _grace(call, options, raw)
    if grace is _Grace.PENDING:
        return One(call.kind, current.served(call, before, found.revision))
    finalizers = finalizers_of(call, options, raw)
    if finalizers:
        metadata["finalizers"] = finalizers
    else:
        metadata.pop("finalizers", None)
    waits = bool(finalizers) or _kept_by_kind(call.kind, raw)
    if waits and grace is _Grace.NONE:
        _mark(call, raw)
    if waits or (grace is _Grace.GIVEN and metadata["deletionGracePeriodSeconds"] > 0):
        return await _marked(call, options, found, before)
    return await _gone(call, options, found)


def _kept_by_kind(kind: Kind, raw: Raw) -> bool:
    """Namespaces have finalizers of their own, in their spec."""
    return _is_namespace(kind) and bool((raw.get("spec") or {}).get("finalizers"))


def _is_namespace(kind: Kind) -> bool:
    return kind.plural == "namespaces" and kind.group == ""


def _mark(call: Call, raw: Raw) -> None:
    """What waits for finalizers is on its way from now on."""
    metadata = raw["metadata"]
    if not metadata.get("deletionTimestamp"):
        metadata["deletionTimestamp"] = times.of_unix(call.engine.clock())
        _count(metadata)
    if _is_namespace(call.kind):
        raw.setdefault("status", {})["phase"] = "Terminating"
    else:
        metadata["deletionGracePeriodSeconds"] = 0


async def _marked(call: Call, options: DeleteOptions, found: Current, before: bytes) -> One:
    value = current.value_of(call, found.raw)
    if value == before or call.options.dry_run or options.dry_run:
        return One(call.kind, current.served(call, value, found.revision))
    revision = await current.write(call, value, found.revision)
    return One(call.kind, current.served(call, value, revision))


async def _gone(call: Call, options: DeleteOptions, found: Current) -> Answer:
    if not (call.options.dry_run or options.dry_run):
        outcome = await create.guarded(call.engine, call, None, found.raw)
        try:
            await call.engine.store.delete(call.key, found.revision)
        except BaseException:
            await outcome.failed()
            raise
        await outcome.stored()
    if (call.kind.group, call.kind.plural) in RETURNED:
        value = current.value_of(call, found.raw)
        return One(call.kind, current.served(call, value, found.revision))
    return success(call.kind, call.name, found.uid)


def finished(call: Call, new: Raw, old: Raw) -> bool:
    """Whether a write takes away the last thing that a deletion waited for."""
    metadata = new["metadata"]
    if not metadata.get("deletionTimestamp") or metadata.get("finalizers"):
        return False
    if _kept_by_kind(call.kind, new):
        return False
    if _is_namespace(call.kind):
        return True
    if metadata.get("deletionGracePeriodSeconds"):
        return False
    return bool(old["metadata"].get("deletionTimestamp"))
