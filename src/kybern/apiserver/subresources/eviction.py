"""Delete a pod, unless a disruption budget says that it is still needed."""

from kybern.apiserver.answer import Plain
from kybern.apiserver.engine import Call
from kybern.apiserver.generic import admit, current, delete
from kybern.apiserver.local import Local
from kybern.apiserver.options import DeleteOptions, delete_options
from kybern.machinery import selectors, times
from kybern.machinery.errors import BadRequest, Cause, Conflict, Details, InternalError, TooManyRequests
from kybern.machinery.kind import Raw

_FREE = ("Succeeded", "Failed", "Pending")
_TRIES = 5


async def evict(call: Call, eviction: Raw) -> Plain:
    if (eviction["metadata"].get("name") or call.name) != call.name:
        raise BadRequest("name in URL does not match name in Eviction object")
    asked = admit.request(call, "CREATE", eviction, None)
    await admit.mutate(call, asked)
    await admit.validate(call, asked)
    found = await current.read(call)
    options = delete_options({}, eviction.get("deleteOptions") or None)
    if call.options.dry_run:
        options.dry_run = True
    status = found.raw.get("status") or {}
    if status.get("phase") not in _FREE and not found.raw["metadata"].get("deletionTimestamp"):
        await _disrupt(call, found.raw, options)
    as_pod = Call(
        call.engine, call.kind, call.user, call.namespace, call.name, options=call.options, asked=True
    )
    await delete.delete(as_pod, options)
    return Plain(
        {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}, 201
    )


async def _disrupt(call: Call, pod: Raw, options: DeleteOptions) -> None:
    """Take one disruption from the pod's budget. Raises TooManyRequests."""
    labels = pod["metadata"].get("labels") or {}
    budgets = [
        budget
        for budget in await call.engine.lookup.list("policy", "poddisruptionbudgets", call.namespace)
        if selectors.of_selector((budget.get("spec") or {}).get("selector")).matches(labels)
    ]
    if not budgets:
        return
    if len(budgets) > 1:
        raise InternalError(
            "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support."
        )
    name = budgets[0]["metadata"]["name"]
    local = Local(call.engine)
    for _ in range(_TRIES):
        budget = await local.get("policy", "poddisruptionbudgets", call.namespace, name)
        if budget is None:
            return
        allowed = _allowed(budget)
        if options.dry_run:
            return
        try:
            await _take(local, budget, pod["metadata"]["name"], allowed)
        except Conflict:
            continue
        return
    raise _refused(name, "too many concurrent evictions")


def _allowed(budget: Raw) -> int:
    name, status = budget["metadata"]["name"], budget.get("status") or {}
    if (status.get("observedGeneration") or 0) < (budget["metadata"].get("generation") or 0):
        raise _refused(name, f"The disruption budget {name} is still being processed by the server.", 10)
    left = int(status.get("disruptionsAllowed") or 0)
    if left < 1:
        needs, has = status.get("desiredHealthy") or 0, status.get("currentHealthy") or 0
        raise _refused(
            name, f"The disruption budget {name} needs {needs} healthy pods and has {has} currently"
        )
    return left


def _refused(_name: str, text: str, seconds: int = 0) -> TooManyRequests:
    cause = Cause("", "DisruptionBudget", text)
    details = Details(causes=(cause,), retry_after_seconds=seconds)
    return TooManyRequests("Cannot evict pod as it would violate the pod's disruption budget.", details)


async def _take(local: Local, budget: Raw, pod: str, allowed: int) -> None:
    status = budget.setdefault("status", {})
    status["disruptionsAllowed"] = allowed - 1
    status["disruptedPods"] = {
        **(status.get("disruptedPods") or {}),
        pod: times.of_unix(local.engine.clock()),
    }
    await local.update("policy", "poddisruptionbudgets", budget, "status")
