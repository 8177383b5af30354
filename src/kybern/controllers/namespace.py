"""Empty a namespace that is being deleted, and let it go when nothing is left in it.

Reads Namespace, and the metadata of every namespaced kind that discovery lists. Deletes their objects; writes
Namespace.status and its finalizers.

Pods go first, then all the rest: a pod must not outlive the secrets and policies that it was started with. The caches
say what is left; only when they show nothing is the API server itself asked, and then the finalizer is dropped. The
conditions tell a user what a namespace that does not go away is waiting for.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from kybern.api.core_v1 import Namespace, NamespaceCondition
from kybern.client.paths import collection
from kybern.loop.controller import Action, Again, Call, Controller, Key, PatchStatus, View
from kybern.loop.settings import Settings
from kybern.machinery.struct import Object, encode, replace

FINALIZER = "kubernetes"
# Not watched, since there are many and they finalize nothing; deleted all the same.
_EVENTS = ("/api/v1/namespaces/{}/events",)
_LOOK_AGAIN = 5.0


@dataclass(frozen=True, slots=True)
class State:
    """``content`` is what is left, by kind; kinds with nothing left are not in it."""

    namespace: Namespace
    content: tuple[tuple[type[Object], tuple[Any, ...]], ...]
    now: datetime
    failure: str = ""


def observe(view: View, key: Key) -> State | None:
    namespace = view.get(Namespace, "", key.name)
    if (
        namespace is None
        or namespace.metadata.deletion_timestamp is None
        or FINALIZER not in namespace.spec.finalizers
    ):
        return None
    kinds = [kind for kind in view.kinds() if kind.namespaced]
    content = [(kind, tuple(view.list(kind, key.name))) for kind in kinds]
    if not any(items for _, items in content):
        content = [(kind, view.live_list(kind, key.name)) for kind in kinds]
    failure = view.failure.error.message if view.failure is not None else ""
    return State(namespace, tuple((kind, items) for kind, items in content if items), view.now, failure)


def diff(state: State) -> Iterable[Action]:
    if (
        state.namespace.status.phase != "Terminating"
        or conditions(state) != state.namespace.status.conditions
    ):
        status = replace(state.namespace.status, phase="Terminating", conditions=conditions(state))
        yield PatchStatus(state.namespace, replace(state.namespace, status=status))
    name = state.namespace.metadata.name
    if not state.content:
        yield from (Call("DELETE", path.format(name)) for path in _EVENTS)
        yield _finalize(state.namespace)
        return
    pods = [(kind, items) for kind, items in state.content if kind.plural == "pods"]
    for kind, items in pods or state.content:
        if any(item.metadata.deletion_timestamp is None for item in items):
            yield Call(
                "DELETE", collection(kind, name), {"kind": "DeleteOptions", "propagationPolicy": "Background"}
            )
    yield Again(_LOOK_AGAIN)


def _finalize(namespace: Namespace) -> Action:
    left = tuple(one for one in namespace.spec.finalizers if one != FINALIZER)
    # Without the version: the status was written a moment ago, and dropping our own finalizer is right in any version.
    metadata = replace(namespace.metadata, resource_version="")
    body = encode(replace(namespace, metadata=metadata, spec=replace(namespace.spec, finalizers=left)))
    return Call("PUT", f"/api/v1/namespaces/{namespace.metadata.name}/finalize", body)


def _resource(kind: type[Object]) -> str:
    group = kind.api_version.rpartition("/")[0]
    return f"{kind.plural}.{group}"


def conditions(state: State) -> tuple[NamespaceCondition, ...]:
    """Upstream's five, in its order; their times change with their status only."""
    left = {_resource(kind): len(items) for kind, items in state.content}
    holds = Counter(one for _, items in state.content for item in items for one in item.metadata.finalizers)
    remaining = ", ".join(f"{name} has {count} resource instances" for name, count in sorted(left.items()))
    holding = ", ".join(f"{name} in {count} resource instances" for name, count in sorted(holds.items()))
    found = (
        (
            "NamespaceDeletionDiscoveryFailure",
            "",
            "ResourcesDiscovered",
            "All resources successfully discovered",
        ),
        (
            "NamespaceDeletionGroupVersionParsingFailure",
            "",
            "ParsedGroupVersions",
            "All legacy kube types successfully parsed",
        ),
        ("NamespaceDeletionContentFailure", state.failure, "ContentDeletionFailed", "")
        if state.failure
        else (
            "NamespaceDeletionContentFailure",
            "",
            "ContentDeleted",
            "All content successfully deleted, may be waiting on finalization",
        ),
        ("NamespaceContentRemaining", f"Some resources are remaining: {remaining}", "SomeResourcesRemain", "")
        if left
        else ("NamespaceContentRemaining", "", "ContentRemoved", "All content successfully removed"),
        (
            "NamespaceFinalizersRemaining",
            f"Some content in the namespace has finalizers remaining: {holding}",
            "SomeFinalizersRemain",
            "",
        )
        if holds
        else (
            "NamespaceFinalizersRemaining",
            "",
            "ContentHasNoFinalizers",
            "All content-preserving finalizers finished",
        ),
    )
    old = {one.type: one for one in state.namespace.status.conditions}
    return tuple(_condition(state.now, old, *one) for one in found)


def _condition(
    now: datetime, old: dict[str, NamespaceCondition], kind: str, problem: str, reason: str, fine: str
) -> NamespaceCondition:
    status = "True" if problem else "False"
    before = old.get(kind)
    same = before is not None and before.status == status
    when = before.last_transition_time if before is not None and same else now.replace(microsecond=0)
    return NamespaceCondition(
        type=kind, status=status, reason=reason, message=problem or fine, last_transition_time=when
    )


def wakes(item: Any, view: View) -> Iterable[Key]:
    """What changes in a namespace matters only while that is going away."""
    name = item.metadata.namespace
    namespace = view.get(Namespace, "", name) if name else None
    if namespace is not None and namespace.metadata.deletion_timestamp is not None:
        yield Key("", name)


def controller(_settings: Settings) -> Controller[State]:
    return Controller("namespace-controller", Namespace, observe, diff, everything=wakes, workers=10)
