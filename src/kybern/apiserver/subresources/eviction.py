"""Delete a pod, unless a disruption budget says that it is still needed.

What holds, as upstream has it (pkg/registry/core/pod/storage/eviction.go): a pod that does not run, or is being deleted,
goes at once; one that is not ready goes when its budget spares it; any other costs its budget a disruption. The pod is
marked (DisruptionTarget) before it is deleted. Where the decision rests on what the pod is at this moment, it is
deleted only as such: one that became ready meanwhile is not taken for one that was not.
"""

from dataclasses import replace

from kybern.apiserver.answer import Plain
from kybern.apiserver.engine import Call
from kybern.apiserver.generic import admit, current, delete, update
from kybern.apiserver.generic.current import Current
from kybern.apiserver.options import DeleteOptions, delete_options
from kybern.apiserver.subresources import budget
from kybern.apiserver.subresources.patience import persistent
from kybern.machinery import times
from kybern.machinery.causes import invalid
from kybern.machinery.errors import BadRequest, Conflict, Invalid
from kybern.machinery.kind import Raw
from kybern.storage.value import decoded

_OVER = ("Succeeded", "Failed")
_UNPROTECTED = (*_OVER, "Pending")
_TARGET = {
    "type": "DisruptionTarget",
    "status": "True",
    "reason": "EvictionByEvictionAPI",
    "message": "Eviction API: evicting",
}
_BREAKING = "ignoreStoreReadErrorWithClusterBreakingPotential"


async def evict(call: Call, eviction: Raw) -> Plain:
    if (eviction["metadata"].get("name") or call.name) != call.name:
        raise BadRequest("name in URL does not match name in Eviction object")
    asked = admit.request(call, "CREATE", eviction, None)
    await admit.mutate(call, asked)
    await admit.validate(call, asked)
    options = _options(call, eviction)
    pod = await persistent(lambda: _unprotected(call, options), once=bool(options.version))
    if pod is not None:
        await _protected(call, pod, options)
    return Plain(
        {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}, 201
    )


def _options(call: Call, eviction: Raw) -> DeleteOptions:
    said = eviction.get("deleteOptions") or {}
    if said.get(_BREAKING):
        why = "can not be set for pod eviction, try after removing the option"
        causes = [invalid(f"deleteOptions.{_BREAKING}", True, why)]
        raise Invalid.of("policy", "Eviction", call.name, causes)
    options = delete_options({}, said or None)
    if call.options.dry_run:
        options.dry_run = True
    return options


async def _unprotected(call: Call, options: DeleteOptions) -> Current | None:
    """The pod, unless no budget protects it and it was deleted."""
    found = await current.read(call)
    phase = (found.raw.get("status") or {}).get("phase")
    going = found.raw["metadata"].get("deletionTimestamp")
    if phase not in _UNPROTECTED and not going:
        return found
    exactly = str(found.revision) if phase not in _OVER and not going else ""
    await _delete(call, replace(options, version=options.version or exactly))
    return None


async def _protected(call: Call, pod: Current, options: DeleteOptions) -> None:
    """Delete a pod that runs, if its budget lets it go. Raises TooManyRequests."""
    found = await budget.of_pod(call, pod.raw)
    if found is None:
        await _delete(call, options)
        return
    name = found["metadata"]["name"]
    if not budget.spares(found, pod.raw):
        await budget.take(call, name, call.name, dry_run=options.dry_run)
        await _delete(call, options)
        return
    try:
        await _delete(call, replace(options, version=options.version or str(pod.revision)))
    except Conflict:
        if options.version:
            raise
        raise budget.unseen(name) from None


async def _delete(call: Call, options: DeleteOptions) -> None:
    """Say on the pod why it goes, and delete it; as it is then, when it had to be of a certain version."""
    if not options.dry_run:
        marked = await _mark(call, options)
        if options.version:
            options = replace(options, version=marked)
    await delete.delete(_as_pod(call), options)


async def _mark(call: Call, options: DeleteOptions) -> str:
    """Set the condition; gives the pod's version. Raises Conflict when it is not the pod that is meant."""

    async def making(found: Current) -> Raw:
        delete.preconditions(call, options, found)
        status = dict(found.raw.get("status") or {})
        now = times.of_unix(call.engine.clock())
        status["conditions"] = marked(status.get("conditions") or [], now)
        return {**found.raw, "metadata": {**found.raw["metadata"]}, "status": status}

    one = await update.change(_as_pod(call, "status"), making, owned=True)
    return str(decoded(one.body)["metadata"]["resourceVersion"])


def marked(conditions: list[Raw], now: str) -> list[Raw]:
    """The conditions with DisruptionTarget set; its time moves only when its status does."""
    fresh = {**_TARGET, "lastTransitionTime": now}
    for at, one in enumerate(conditions):
        if one.get("type") == _TARGET["type"]:
            if one.get("status") == "True":
                fresh["lastTransitionTime"] = one.get("lastTransitionTime", now)
            return [*conditions[:at], fresh, *conditions[at + 1 :]]
    return [*conditions, fresh]


def _as_pod(call: Call, subresource: str = "") -> Call:
    return Call(
        call.engine,
        call.kind,
        call.user,
        call.namespace,
        call.name,
        subresource,
        options=call.options,
        asked=True,
    )
