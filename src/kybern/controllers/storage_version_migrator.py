"""Have all objects of a resource written anew, as the API server stores them today (KEP-4192).

That is wanted after a change of the version in which they are stored, or of the key that encrypts them.

Reads StorageVersionMigration, discovery, metadata of the resource's objects. Writes every such object, unchanged,
StorageVersionMigration.status.

    created ──> status.resourceVersion: the present one ──> Running ──> every object not newer than that ──> Succeeded
                └── no such resource for a minute, or one that cannot be written ──> Failed <── refused ──┘

An object that somebody else has written meanwhile is stored anew already: a conflict, or a newer version, is as good as
a write of ours. Whoever comes after one that died lists again, and passes over what has been written. The list is asked of
the API server when the writing begins, and so is never older than the version to which it is compared.

Runs only with the feature gate StorageVersionMigrator.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import msgspec

from kybern.api.meta_v1 import APIGroupList, APIResource, APIResourceList, Condition
from kybern.api.storagemigration_v1beta1 import StorageVersionMigration
from kybern.client import paths
from kybern.client.discovery import Resource, partial
from kybern.client.verbs import Partial
from kybern.loop.controller import Action, Again, Controller, Failure, Key, PatchStatus, Rewrite, View
from kybern.loop.settings import Settings
from kybern.machinery.errors import (
    ApiError,
    InternalError,
    NotFound,
    ServiceUnavailable,
    Timeout,
    TooManyRequests,
)
from kybern.machinery.struct import replace

NAME = "storage-version-migrator-controller"
"""Its own, and the manager of the fields that it applies, which are none."""
_NEEDED = ("update", "patch", "list")
# So long discovery may take to learn of a new custom kind.
_PATIENCE = timedelta(minutes=1)
_LOOK_AGAIN = 5.0
_WILL_PASS = (InternalError, ServiceUnavailable, Timeout, TooManyRequests)
_UNHANDLED = "migration encountered unhandled error: "


@dataclass(frozen=True, slots=True)
class State:
    """A migration under way, and the one thing that comes next.

    ``wrong`` says why it has failed; ``wait``: look again; ``version`` is what to write into the status; ``objects`` are
    those that are to be written, None before the migration is said to run.
    """

    found: StorageVersionMigration
    now: datetime
    wrong: str = ""
    wait: bool = False
    version: str = ""
    objects: tuple[Partial, ...] | None = None


def observe(view: View, key: Key) -> State | None:
    found = view.get(StorageVersionMigration, "", key.name)
    if found is None or _is(found, "Succeeded") or _is(found, "Failed"):
        return None
    failure = view.failure
    if failure is not None and _is_final(failure):
        return State(found, view.now, wrong=f"{_UNHANDLED}{failure.error}")
    resource = _resource(view, found.spec.resource.group, found.spec.resource.resource)
    if resource is None:
        return _missing(found, view.now)
    if not found.status.resource_version:
        return _beginning(view, found, resource)
    if not _is(found, "Running"):
        return State(found, view.now)
    return _writing(view, found, resource)


def _is(found: StorageVersionMigration, kind: str) -> bool:
    return any(one.type == kind and one.status == "True" for one in found.status.conditions)


def _is_final(failure: Failure) -> bool:
    """Whether an object was refused in a way that no other attempt will change."""
    return isinstance(failure.action, Rewrite) and not isinstance(failure.error, _WILL_PASS)


def _missing(found: StorageVersionMigration, now: datetime) -> State:
    made = found.metadata.creation_timestamp
    if made is not None and made + _PATIENCE > now:
        return State(found, now, wait=True)
    if found.status.resource_version:
        return State(found, now, wrong=f"{_UNHANDLED}unable to obtain GVR from discovery")
    return State(found, now, wrong="resource does not exist in discovery")


def _beginning(view: View, found: StorageVersionMigration, resource: Resource) -> State:
    shown = f"{resource.group}/{resource.version}, Resource={resource.plural}"
    if not resource.verbs >= set(_NEEDED):
        why = f'resource "{shown}" does not support discovery operations: [{" ".join(_NEEDED)}]'
        return State(found, view.now, wrong=why)
    version = _asked(view, f"{paths.collection(partial(resource))}?limit=1")["metadata"]["resourceVersion"]
    if not _is_version(version):
        why = f"latest resourceVersion for {shown} is not valid: {_malformed(version)}"
        return State(found, view.now, wrong=why)
    return State(found, view.now, version=version)


def _writing(view: View, found: StorageVersionMigration, resource: Resource) -> State:
    there: tuple[Any, ...] = view.live_list(partial(resource), "")
    strange = next((one for one in there if not _is_version(one.metadata.resource_version)), None)
    if strange is not None:
        return State(found, view.now, wrong=_UNHANDLED + _malformed(strange.metadata.resource_version))
    last = int(found.status.resource_version)
    return State(
        found,
        view.now,
        objects=tuple(one for one in there if int(one.metadata.resource_version) <= last),
    )


def _is_version(text: str) -> bool:
    """A positive number without leading zeros: versions that can be compared."""
    return text.isascii() and text.isdigit() and not text.startswith("0")


def _malformed(text: str) -> str:
    return f"resource version is not well formed: {text}"


def _resource(view: View, group: str, plural: str) -> Resource | None:
    """In the version that the server likes best, of those that have it."""
    for version in _versions(view, group):
        try:
            listed = msgspec.convert(_asked(view, paths.root(version)), APIResourceList)
        except NotFound:
            continue
        entry = next((one for one in listed.resources if one.name == plural), None)
        if entry is not None:
            return _described(version, entry)
    return None


def _versions(view: View, group: str) -> Iterator[str]:
    if not group:
        yield "v1"
        return
    groups = msgspec.convert(_asked(view, "/apis"), APIGroupList).groups
    found = next((one for one in groups if one.name == group), None)
    if found is None:
        return
    best = found.preferred_version.group_version if found.preferred_version is not None else ""
    versions = [one.group_version for one in found.versions]
    yield from sorted(versions, key=lambda version: version != best)


def _described(group_version: str, entry: APIResource) -> Resource:
    group, _, version = group_version.rpartition("/")
    return Resource(group, version, entry.kind, entry.name, bool(entry.namespaced), frozenset(entry.verbs))


def _asked(view: View, path: str) -> Any:
    """Raises ApiError: it is tried again then."""
    found = view.answer(path)
    if isinstance(found, ApiError):
        raise found
    return found


def diff(state: State) -> Iterable[Action]:
    found = state.found
    if state.wait:
        yield Again(_LOOK_AGAIN)
    elif state.wrong:
        yield _said(state, "Failed", "StorageVersionMigrationFailed", state.wrong)
    elif state.version:
        status = replace(found.status, resource_version=state.version)
        yield PatchStatus(found, replace(found, status=status))
    elif state.objects is None:
        yield _said(state, "Running", "StorageVersionMigrationInProgress", "")
    else:
        yield from (Rewrite(one, NAME) for one in state.objects)
        yield _said(state, "Succeeded", "StorageVersionMigrationSucceeded", "")


def _said(state: State, kind: str, reason: str, message: str) -> PatchStatus:
    """With another condition; once it has ended it does not run any more."""
    found = state.found
    there = tuple(
        replace(one, status="False") if one.type == "Running" and kind != "Running" else one
        for one in found.status.conditions
        if one.type != kind
    )
    said = Condition(
        type=kind,
        status="True",
        reason=reason,
        message=message,
        last_transition_time=state.now.replace(microsecond=0),
    )
    status = replace(found.status, conditions=(*there, said))
    return PatchStatus(found, replace(found, status=status))


def controller(_settings: Settings) -> Controller[State]:
    return Controller(NAME, StorageVersionMigration, observe, diff)
