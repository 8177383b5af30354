"""What may change in a pod that exists: images, deadlines, more tolerations, fewer gates; nothing else.

The subresources ephemeralcontainers and resize have rules of their own, below.
"""

from collections.abc import Iterator
from typing import Any

from kybern.api.rules import within
from kybern.api.rules.causes import forbidden, in_range, invalid
from kybern.api.rules.pods import spec as specs
from kybern.api.rules.qos import class_of
from kybern.machinery.errors import Cause
from kybern.machinery.kind import Raw

_CHANGEABLE = (
    "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,"
    "`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),"
    "`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)"
)
_MAX_SECONDS = 2147483647
_RESIZABLE = ("cpu", "memory")


def update(new: Raw, old: Raw) -> Iterator[Cause]:
    yield from specs.pod(new)
    fresh, stored = new.get("spec") or {}, old.get("spec") or {}
    for kind, text in (("containers", "containers"), ("initContainers", "initContainers")):
        if len(fresh.get(kind) or ()) != len(stored.get(kind) or ()):
            yield forbidden(f"spec.{kind}", f"pod updates may not add or remove {text}")
            return
    yield from _deadline(fresh, stored)
    yield from _tolerations(fresh, stored)
    if _pinned(fresh, stored) != _pinned(stored, stored):
        found = within.difference("PodSpec", stored, _munged(fresh, stored))
        yield forbidden("spec", f"{_CHANGEABLE}\n{found}")


def _deadline(fresh: Raw, stored: Raw) -> Iterator[Cause]:
    """A deadline may come nearer, not go away."""
    new, old, at = (
        fresh.get("activeDeadlineSeconds"),
        stored.get("activeDeadlineSeconds"),
        "spec.activeDeadlineSeconds",
    )
    if new is not None:
        yield from () if 1 <= new <= _MAX_SECONDS else in_range(at, new, 0, _MAX_SECONDS)
        if old is not None and old < new:
            yield invalid(at, new, "must be less than or equal to previous value")
    elif old is not None:
        yield invalid(at, new, "must not update from a positive integer to nil value")


def _tolerations(fresh: Raw, stored: Raw) -> Iterator[Cause]:
    """Existing ones stay; only how long they last may change."""
    new = [_lasting(toleration) for toleration in fresh.get("tolerations") or ()]
    for toleration in stored.get("tolerations") or ():
        if _lasting(toleration) not in new:
            yield forbidden(
                "spec.tolerations", "existing toleration can not be modified except its tolerationSeconds"
            )
            return


def _lasting(toleration: Raw) -> Raw:
    return {key: value for key, value in toleration.items() if key != "tolerationSeconds"}


def _munged(spec: Raw, stored: Raw) -> Raw:
    """The new spec with what may change as it was."""
    found = {**spec, **{key: stored.get(key) for key in _free(spec, stored)}}
    for kind in ("containers", "initContainers"):
        if found.get(kind):
            pairs = zip(found[kind], stored[kind], strict=True)
            found[kind] = [{**new, "image": old.get("image")} for new, old in pairs]
    return found


def _images(found: list[Raw] | None) -> list[Raw]:
    return [{key: value for key, value in raw.items() if key != "image"} for raw in found or ()]


def _free(spec: Raw, stored: Raw) -> set[str]:
    free = {"activeDeadlineSeconds", "tolerations"}
    if (stored.get("terminationGracePeriodSeconds") or 0) < 0 and spec.get(
        "terminationGracePeriodSeconds"
    ) == 1:
        free.add("terminationGracePeriodSeconds")
    if stored.get("schedulingGates"):
        free |= {"schedulingGates", "nodeSelector", "affinity"}
    return free


def _pinned(spec: Raw, stored: Raw) -> dict[str, Any]:
    """Everything that must stay as it was."""
    free = _free(spec, stored)
    found = {key: value for key, value in spec.items() if key not in free and value is not None}
    for kind in ("containers", "initContainers"):
        if kind in found:
            found[kind] = _images(found[kind])
    return found


def _named(raw: Raw, kind: str) -> dict[str, Raw]:
    return {found.get("name", ""): found for found in (raw.get("spec") or {}).get(kind) or ()}


def ephemeral(new: Raw, old: Raw) -> Iterator[Cause]:
    """The subresource ephemeralcontainers: more may come, those that are there stay as they are."""
    yield from specs.pod(new)
    fresh, stored = _named(new, "ephemeralContainers"), _named(old, "ephemeralContainers")
    for name, container in stored.items():
        if name not in fresh:
            yield forbidden(
                "spec.ephemeralContainers", f'existing ephemeral containers "{name}" may not be removed\n'
            )
        elif fresh[name] != container:
            found = within.difference("EphemeralContainer", container, fresh[name])
            says = f'existing ephemeral containers "{name}" may not be changed\n{found}'
            yield forbidden("spec.ephemeralContainers", says)


def resize(new: Raw, old: Raw) -> Iterator[Cause]:
    """The subresource resize: amounts of cpu and memory may change, what was limited stays limited, as does the class."""
    yield from specs.pod(new)
    fresh, stored_spec = new.get("spec") or {}, old.get("spec") or {}
    known = (old.get("status") or {}).get("qosClass") or class_of(stored_spec)
    if class_of(fresh) != known:
        yield invalid("spec", known, "Pod QOS Class may not change as a result of resizing")
    yield from _resized("spec.resources", fresh.get("resources") or {}, stored_spec.get("resources") or {})
    for kind in ("containers", "initContainers"):
        stored = _named(old, kind)
        for i, container in enumerate(fresh.get(kind) or ()):
            before = (stored.get(container.get("name", "")) or {}).get("resources") or {}
            yield from _resized(f"spec.{kind}[{i}].resources", container.get("resources") or {}, before)


def _resized(field: str, new: Raw, old: Raw) -> Iterator[Cause]:
    for side in ("requests", "limits"):
        fresh, stored = new.get(side) or {}, old.get(side) or {}
        if any(key in stored and key not in fresh for key in _RESIZABLE):
            yield forbidden(f"{field}.{side}", f"resource {side} cannot be removed")
        others = {key for key in {*fresh, *stored} if key not in _RESIZABLE}
        if any(fresh.get(key) != stored.get(key) for key in others):
            yield forbidden(field, "only cpu and memory resources are mutable")
