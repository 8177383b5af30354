"""What a namespace may hold: every write is charged to the quotas that it counts in, before it is stored.

The charge is a write of the quota's status at the version that was read, so that two writers, or two servers, cannot both
take the last of it; who loses reads again. A write that fails afterwards stays charged until the quota controller counts
anew. Runs last, when nothing but storing can fail.
"""

import asyncio
from collections.abc import Iterable
from weakref import WeakValueDictionary

from kybern.admission.framework import Plugin, Request, refused
from kybern.api.asked import Amounts, amounts
from kybern.api.quota import in_scopes, unstated, usage
from kybern.machinery.errors import Conflict
from kybern.machinery.kind import Raw
from kybern.machinery.quantity import parse

PATIENCE = 30.0
"""Seconds for which a charge is tried again; each collision is the success of another server's."""
ZERO = parse("0")
_LOCKS: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
"""One charge at a time in a namespace: more would only collide."""


async def validate(request: Request) -> None:
    new = request.new
    if new is None or not request.namespace or not _is_counted(request):
        return
    if not await request.lookup.list("", "resourcequotas", request.namespace):
        return
    lock = _LOCKS.setdefault(request.namespace, asyncio.Lock())
    async with lock:
        quotas = await request.lookup.list("", "resourcequotas", request.namespace)
        for quota in sorted(quotas, key=lambda one: str(one["metadata"]["name"])):
            await _charge(request, new, quota)


def _is_counted(request: Request) -> bool:
    """Creations, and updates that can change what an object counts for."""
    if request.operation == "CREATE":
        return not request.subresource
    if request.operation != "UPDATE" or request.kind.group:
        return False
    return (request.kind.plural, request.subresource) in (
        ("pods", "resize"),
        ("services", ""),
        ("persistentvolumeclaims", ""),
        ("persistentvolumeclaims", "status"),
    )


async def _charge(request: Request, new: Raw, quota: Raw) -> None:
    name, loop = quota["metadata"]["name"], asyncio.get_running_loop()
    until = loop.time() + PATIENCE
    present: Raw | None = quota
    while present is not None:
        charged = _charged(request, new, present)
        if charged is None or request.dry_run or request.charge is None:
            return
        try:
            await request.charge(charged)
        except Conflict:
            if loop.time() > until:
                break
            present = await request.lookup.get_live("", "resourcequotas", request.namespace, name)
            continue
        return
    if present is not None:
        raise refused(request, f"unable to charge quota {name}: it changes too often")


def _charged(request: Request, new: Raw, quota: Raw) -> Raw | None:
    """The quota with the write added to what is used; None when it counts for nothing. Raises Forbidden."""
    group, plural = request.kind.group, request.kind.plural
    spec, status, name = quota.get("spec") or {}, quota.get("status") or {}, quota["metadata"]["name"]
    if not in_scopes(spec, group, plural, new):
        return None
    counted = usage(group, plural, new)
    hard = spec.get("hard") or {}
    if (group, plural, request.operation) == ("", "pods", "CREATE"):
        missing = unstated(new, hard)
        if missing:
            text = "; ".join(
                f"{key} for: {','.join(sorted(set(names)))}" for key, names in sorted(missing.items())
            )
            raise refused(request, f"failed quota: {name}: must specify {text}")
    # What was in none of the scopes before is charged whole; what leaves them is taken away by the controller.
    old = request.old if request.old is not None and in_scopes(spec, group, plural, request.old) else None
    before = usage(group, plural, old) if old is not None else {}
    delta = {key: amount - before.get(key, ZERO) for key, amount in counted.items() if key in hard}
    delta = {key: amount for key, amount in delta.items() if amount}
    used, bounds = amounts(status.get("used")), amounts(status.get("hard"))
    unknown = sorted(key for key in delta if key not in used or key not in bounds)
    if unknown:
        raise refused(request, f"status unknown for quota: {name}, resources: {','.join(unknown)}")
    total = {key: used[key] + amount for key, amount in delta.items()}
    over = sorted(key for key in delta if delta[key] > ZERO and total[key] > bounds[key])
    if over:
        raise refused(
            request,
            f"exceeded quota: {name}, requested: {_shown(delta, over)}, used: {_shown(used, over)},"
            f" limited: {_shown(bounds, over)}",
        )
    if not delta:
        return None
    shown = {key: str(amount) for key, amount in total.items()}
    return {**quota, "status": {**status, "used": {**(status.get("used") or {}), **shown}}}


def _shown(given: Amounts, names: Iterable[str]) -> str:
    return ",".join(f"{name}={given[name]}" for name in names)


PLUGIN = Plugin("ResourceQuota", validate=validate)
