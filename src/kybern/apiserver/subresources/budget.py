"""Taking one disruption from the budget of a pod that is to be evicted.

What the server takes is noted in the budget's status (``disruptedPods``) until the disruption controller counts anew, so
that two evictions that come together cannot both have the last one. Texts and limits are upstream's
(pkg/registry/core/pod/storage/eviction.go).
"""

from kybern.apiserver.crd.conditions import settled
from kybern.apiserver.engine import Call
from kybern.apiserver.local import Local
from kybern.apiserver.problems import Unexpected
from kybern.apiserver.subresources.patience import persistent
from kybern.machinery import selectors, times
from kybern.machinery.errors import Cause, Details, Forbidden, NotFound, TooManyRequests
from kybern.machinery.kind import Raw

_MOST_DISRUPTED = 2000
_SEVERAL = "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support."
_ALLOWED = "DisruptionAllowed"


async def of_pod(call: Call, pod: Raw) -> Raw | None:
    """The budget whose selector matches a pod. Raises when there are several."""
    labels = pod["metadata"].get("labels") or {}
    found = [
        budget
        for budget in await call.engine.lookup.list("policy", "poddisruptionbudgets", call.namespace)
        if selectors.of_selector((budget.get("spec") or {}).get("selector")).matches(labels)
    ]
    if len(found) > 1:
        raise Unexpected(_SEVERAL)
    return found[0] if found else None


def spares(budget: Raw, pod: Raw) -> bool:
    """Whether a pod may go without asking how many are left: it is not ready, and so counts for nothing."""
    conditions = (pod.get("status") or {}).get("conditions") or ()
    if any(one.get("type") == "Ready" and one.get("status") == "True" for one in conditions):
        return False
    if (budget.get("spec") or {}).get("unhealthyPodEvictionPolicy") == "AlwaysAllow":
        return True
    needs, has = _numbers(budget)
    return has >= needs > 0


def _numbers(budget: Raw) -> tuple[int, int]:
    status = budget.get("status") or {}
    return int(status.get("desiredHealthy") or 0), int(status.get("currentHealthy") or 0)


async def take(call: Call, name: str, pod: str, *, dry_run: bool) -> None:
    """Raises TooManyRequests when nothing is left to take."""
    local = Local(call.engine)

    async def attempt() -> None:
        budget = await local.get("policy", "poddisruptionbudgets", call.namespace, name)
        if budget is None:
            text = f'poddisruptionbudgets.policy "{name}" not found'
            raise NotFound(text, Details(name=name, group="policy", kind="poddisruptionbudgets"))
        check(budget)
        if not dry_run:
            _note(budget, pod, times.of_unix(call.engine.clock()))
            await local.update("policy", "poddisruptionbudgets", budget, "status")

    await persistent(attempt)


def check(budget: Raw) -> None:
    """Raises TooManyRequests or Forbidden unless the budget allows a disruption."""
    metadata, status = budget["metadata"], budget.get("status") or {}
    if (status.get("observedGeneration") or 0) < (metadata.get("generation") or 0):
        raise unseen(metadata["name"])
    allowed = int(status.get("disruptionsAllowed") or 0)
    if allowed < 0:
        raise _forbidden(metadata["name"], "pdb disruptions allowed is negative")
    if len(status.get("disruptedPods") or ()) > _MOST_DISRUPTED:
        why = "DisruptedPods map too big - too many evictions not confirmed by PDB controller"
        raise _forbidden(metadata["name"], why)
    if allowed == 0:
        raise _refused(why_none(budget))


def why_none(budget: Raw) -> str:
    """Numbers that come from a failed count are not to be trusted, so that is asked first."""
    start = f"The disruption budget {budget['metadata']['name']}"
    conditions = (budget.get("status") or {}).get("conditions") or ()
    found: Raw = next((one for one in conditions if one.get("type") == _ALLOWED), {})
    said = found.get("message") or "" if found.get("status") == "False" else ""
    if said and found.get("reason") == "SyncFailed":
        return f"{start} does not allow evicting pods currently because it failed sync: {said}"
    needs, has = _numbers(budget)
    if has <= needs:
        return f"{start} needs {needs} healthy pods and has {has} currently"
    if said:
        return f"{start} does not allow evicting pods currently ({found.get('reason')}): {said}"
    return f"{start} does not allow evicting pods currently"


def unseen(name: str) -> TooManyRequests:
    return _refused(f"The disruption budget {name} is still being processed by the server.", 10)


def _refused(text: str, seconds: int = 0) -> TooManyRequests:
    details = Details(causes=(Cause("", "DisruptionBudget", text),), retry_after_seconds=seconds)
    return TooManyRequests("Cannot evict pod as it would violate the pod's disruption budget.", details)


def _forbidden(name: str, why: str) -> Forbidden:
    details = Details(name=name, group="policy", kind="poddisruptionbudget")
    return Forbidden(f'poddisruptionbudget.policy "{name}" is forbidden: {why}', details)


def _note(budget: Raw, pod: str, now: str) -> None:
    status = budget.setdefault("status", {})
    status["disruptionsAllowed"] -= 1
    status["disruptedPods"] = {**(status.get("disruptedPods") or {}), pod: now}
    if status["disruptionsAllowed"] == 0:
        settled(status, _ALLOWED, ("False", "InsufficientPods", ""), now)
