"""What the server says about a definition: which names it may have, and whether it is served.

Names of one group are given to the definition that had them first; a definition whose names all are its own is
established, and stays so.
"""

from collections.abc import Iterable, Mapping
from copy import deepcopy
from typing import Any

from kybern.machinery.kind import Raw

CLEANUP = "customresourcecleanup.apiextensions.k8s.io"
_TITLES = {
    "plural": "Plural",
    "singular": "Singular",
    "kind": "Kind",
    "listKind": "ListKind",
    "shortNames": "ShortNames",
}
_RESOURCES = ("plural", "singular")
_KINDS = ("kind", "listKind")


def holds(definition: Raw, kind: str) -> bool:
    found = _find(definition.get("status") or {}, kind)
    return found is not None and found.get("status") == "True"


def _find(status: Mapping[str, Any], kind: str) -> Raw | None:
    return next((each for each in status.get("conditions") or () if each.get("type") == kind), None)


def settled(status: Raw, kind: str, says: tuple[str, str, str], now: str) -> None:
    """Set a condition: (status, reason, message). The time moves only when the status does."""
    state, reason, message = says
    fresh = {"type": kind, "status": state, "lastTransitionTime": now, "reason": reason, "message": message}
    conditions = list(status.get("conditions") or ())
    for i, each in enumerate(conditions):
        if each.get("type") == kind:
            if each.get("status") == state:
                fresh["lastTransitionTime"] = each.get("lastTransitionTime", now)
            conditions[i] = {**each, **fresh}
            break
    else:
        conditions.append(fresh)
    status["conditions"] = conditions


def accepted(definition: Raw, others: Iterable[Raw]) -> tuple[Raw, str, str]:
    """The names that a definition has from now on, and the reason and text why not all that it asks for."""
    wanted = definition["spec"]["names"]
    status = definition.get("status") or {}
    had = status.get("acceptedNames") or {}
    resources, kinds = _taken(definition, others)
    found: Raw = dict(had)
    reason = text = ""
    for key, title in _TITLES.items():
        taken = kinds if key in _KINDS else resources
        clash = _clash(wanted.get(key), taken)
        if clash:
            reason, text = f"{title}Conflict", clash
        elif wanted.get(key):
            found[key] = wanted[key]
        else:
            found.pop(key, None)
    if wanted.get("categories"):
        found["categories"] = wanted["categories"]
    else:
        found.pop("categories", None)
    return {"plural": "", "kind": "", **found}, reason, text


def _taken(definition: Raw, others: Iterable[Raw]) -> tuple[set[str], set[str]]:
    resources: set[str] = set()
    kinds: set[str] = set()
    for other in others:
        if other["metadata"]["name"] == definition["metadata"]["name"]:
            continue
        if other["spec"]["group"] != definition["spec"]["group"]:
            continue
        names = (other.get("status") or {}).get("acceptedNames") or {}
        resources.update(filter(None, (names.get(key) for key in _RESOURCES)), names.get("shortNames") or ())
        kinds.update(filter(None, (names.get(key) for key in _KINDS)))
    return resources, kinds


def _clash(wanted: Any, taken: set[str]) -> str:
    if isinstance(wanted, list):
        lost = [f'"{name}" is already in use' for name in wanted if name in taken]
        return lost[0] if len(lost) == 1 else f"[{', '.join(lost)}]" if lost else ""
    return f'"{wanted}" is already in use' if wanted in taken else ""


def judged(definition: Raw, others: Iterable[Raw], now: str) -> Raw:
    """The status that a definition should have."""
    status: Raw = deepcopy(definition.get("status") or {})
    names, reason, text = accepted(definition, others)
    status["acceptedNames"] = names
    if reason:
        settled(status, "NamesAccepted", ("False", reason, text), now)
    else:
        settled(status, "NamesAccepted", ("True", "NoConflicts", "no conflicts found"), now)
    if not holds(definition, "Established"):
        if reason:
            says = ("False", "NotAccepted", "not all names are accepted")
        else:
            says = ("True", "InitialNamesAccepted", "the initial names have been accepted")
        settled(status, "Established", says, now)
    return status


def condemned(definition: Raw, now: str) -> None:
    """A definition that is to be deleted goes when its objects are gone."""
    metadata = definition["metadata"]
    metadata["deletionTimestamp"] = now
    finalizers = list(metadata.get("finalizers") or ())
    if CLEANUP not in finalizers:
        metadata["finalizers"] = [*finalizers, CLEANUP]
    text = "CustomResourceDefinition marked for deletion; CustomResource deletion will begin soon"
    settled(
        definition.setdefault("status", {}), "Terminating", ("True", "InstanceDeletionPending", text), now
    )
