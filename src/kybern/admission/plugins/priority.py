"""A pod gets the priority of its class, or of the default class, or 0; only one class is the default."""

from kybern.admission.framework import Lookup, Plugin, Request, refused
from kybern.machinery.kind import Raw

GROUP = "scheduling.k8s.io"


async def mutate(request: Request) -> None:
    if request.new is None or not request.concerns("", "pods"):
        return
    spec = request.new.setdefault("spec", {})
    if request.operation == "UPDATE":
        _keep(spec, (request.old or {}).get("spec") or {})
    elif request.operation == "CREATE":
        await _resolve(request, spec)


def _keep(spec: Raw, old: Raw) -> None:
    """Clients that do not know these fields leave them out."""
    for field in ("priority", "preemptionPolicy"):
        if spec.get(field) is None and old.get(field) is not None:
            spec[field] = old[field]


async def _resolve(request: Request, spec: Raw) -> None:
    chosen = spec.get("priorityClassName") or ""
    if chosen:
        found = await request.lookup.get(GROUP, "priorityclasses", "", chosen)
        found = found or await request.lookup.get_live(GROUP, "priorityclasses", "", chosen)
        if found is None:
            raise refused(request, f"no PriorityClass with name {chosen} was found")
    else:
        found = await _default(request.lookup)
        if found is not None:
            spec["priorityClassName"] = found["metadata"]["name"]
    value = found.get("value", 0) if found else 0
    if spec.get("priority") not in (None, value):
        raise refused(
            request,
            f"the integer value of priority ({spec['priority']}) must not be provided in pod spec; priority admission"
            f" controller computed {value} from the given PriorityClass name",
        )
    spec["priority"] = value
    policy = (found or {}).get("preemptionPolicy") or "PreemptLowerPriority"
    if spec.get("preemptionPolicy") not in (None, policy):
        raise refused(
            request,
            f"the string value of PreemptionPolicy ({spec['preemptionPolicy']}) must not be provided in pod spec; priority"
            f" admission controller computed {policy} from the given PriorityClass name",
        )
    spec["preemptionPolicy"] = policy


async def _default(lookup: Lookup) -> Raw | None:
    """The default class; of several, which a race can make, the lowest."""
    classes = [one for one in await lookup.list(GROUP, "priorityclasses") if one.get("globalDefault")]
    return min(classes, key=lambda one: int(one.get("value", 0)), default=None)


async def validate(request: Request) -> None:
    new = request.new
    if new is None or not request.concerns(GROUP, "priorityclasses") or not new.get("globalDefault"):
        return
    default = await _default(request.lookup)
    if default is not None and default["metadata"]["name"] != new["metadata"].get("name"):
        name = default["metadata"]["name"]
        raise refused(
            request, f"PriorityClass {name} is already marked as default. Only one default can exist"
        )


PLUGIN = Plugin(
    "Priority",
    mutate=mutate,
    validate=validate,
    resources=frozenset({("", "pods"), (GROUP, "priorityclasses")}),
)
