"""Subresources through which a part of an object is written: what they take over, and what they check.

``status`` is every kind's own affair (``Rules``); these are the others.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from kybern.api.rules import certificates
from kybern.api.rules.pods import updates
from kybern.machinery.errors import Cause
from kybern.machinery.kind import Raw


@dataclass(frozen=True, slots=True)
class Part:
    """``take`` gives the old object with the part of the new one; ``check`` says what is wrong with that.

    ``stamp`` is given the time on the wire, for what notes when it was changed.
    """

    take: Callable[[Raw, Raw], Raw]
    check: Callable[[Raw, Raw], Iterable[Cause]]
    stamp: Callable[[Raw, Raw, str], None] = lambda _new, _old, _now: None


def _ephemeral(new: Raw, old: Raw) -> Raw:
    spec = {**(old.get("spec") or {})}
    found = (new.get("spec") or {}).get("ephemeralContainers")
    if found:
        spec["ephemeralContainers"] = found
    else:
        spec.pop("ephemeralContainers", None)
    return {**old, "spec": spec}


def _resized(new: Raw, old: Raw) -> Raw:
    """What containers have, and the pod as a whole (KEP-5419)."""
    spec = {**(old.get("spec") or {})}
    whole = (new.get("spec") or {}).get("resources")
    if whole:
        spec["resources"] = whole
    else:
        spec.pop("resources", None)
    for kind in ("containers", "initContainers"):
        wanted = {one.get("name"): one for one in (new.get("spec") or {}).get(kind) or ()}
        if kind in spec:
            spec[kind] = [_with_resources(one, wanted.get(one.get("name"))) for one in spec[kind]]
    return {**old, "spec": spec}


def _with_resources(container: Raw, wanted: Raw | None) -> Raw:
    if wanted is None:
        return container
    found = {**container}
    for key in ("resources", "resizePolicy"):
        if key in wanted:
            found[key] = wanted[key]
        else:
            found.pop(key, None)
    return found


def _approval(new: Raw, old: Raw) -> Raw:
    status = {**(old.get("status") or {})}
    conditions = (new.get("status") or {}).get("conditions")
    if conditions:
        status["conditions"] = conditions
    else:
        status.pop("conditions", None)
    return {**old, "status": status}


PARTS: Mapping[tuple[str, str], Part] = {
    ("pods", "ephemeralcontainers"): Part(_ephemeral, updates.ephemeral),
    ("pods", "resize"): Part(_resized, updates.resize),
    ("certificatesigningrequests", "approval"): Part(_approval, certificates.approval, certificates.stamp),
}
