"""A storage version migration: what comes next, from the wish to its end."""

from datetime import datetime
from typing import Any

import pytest

from kybern.api.meta_v1 import Condition, GroupResource, ObjectMeta
from kybern.api.storagemigration_v1beta1 import (
    StorageVersionMigration,
    StorageVersionMigrationSpec,
    StorageVersionMigrationStatus,
)
from kybern.client.discovery import Resource, partial
from kybern.client.verbs import Partial, PartialMeta
from kybern.controllers.storage_version_migrator import NAME, controller
from kybern.loop.controller import Action, Again, Failure, Key, PatchStatus, Rewrite
from kybern.loop.settings import Settings
from kybern.machinery.errors import (
    ApiError,
    Forbidden,
    InternalError,
    Invalid,
    NotFound,
    ServiceUnavailable,
    Timeout,
    TooManyRequests,
)
from tests.unit.controllers.making import NOW, ago, every, view

VERBS = ["create", "delete", "get", "list", "patch", "update", "watch"]
DEPLOYMENTS = Resource("apps", "v1", "Deployment", "deployments", True, frozenset(VERBS))
DEPLOYMENT: type[Any] = partial(DEPLOYMENTS)


def entry(name: str, kind: str, verbs: list[str] = VERBS) -> dict[str, Any]:
    return {"name": name, "singularName": "", "kind": kind, "namespaced": True, "verbs": verbs}


def group(name: str, *versions: str) -> dict[str, Any]:
    listed = [{"groupVersion": f"{name}/{version}", "version": version} for version in versions]
    return {"name": name, "versions": listed, "preferredVersion": listed[-1]}


def thing(name: str, version: str, namespace: str = "a") -> Partial:
    meta = PartialMeta(name=name, namespace=namespace, uid=f"uid-{name}", resource_version=version)
    found: Partial = DEPLOYMENT(metadata=meta)
    return found


SERVED: dict[Any, Any] = {
    "/api/v1": {"groupVersion": "v1", "resources": [entry("pods", "Pod"), entry("pods/status", "Pod")]},
    "/apis": {"groups": [group("apps", "v1beta1", "v1"), group("gone", "v1")]},
    "/apis/apps/v1": {"groupVersion": "apps/v1", "resources": [entry("deployments", "Deployment")]},
    "/apis/apps/v1beta1": {
        "groupVersion": "apps/v1beta1",
        "resources": [entry("deployments", "Deployment"), entry("scales", "Scale", ["get", "list"])],
    },
    "/apis/apps/v1/deployments?limit=1": {"metadata": {"resourceVersion": "100"}, "items": []},
    "/api/v1/pods?limit=1": {"metadata": {"resourceVersion": "101"}, "items": []},
    DEPLOYMENT: (thing("old", "90"), thing("last", "100"), thing("new", "101", "b")),
}
RUNNING: dict[str, Any] = {
    "type": "Running",
    "status": "True",
    "reason": "StorageVersionMigrationInProgress",
    "message": "",
}


def migration(
    resource: str = "deployments.apps", version: str = "", *conditions: dict[str, Any], made: datetime = NOW
) -> StorageVersionMigration:
    plural, _, of = resource.partition(".")
    return StorageVersionMigration(
        metadata=ObjectMeta(name="m", creation_timestamp=made),
        spec=StorageVersionMigrationSpec(resource=GroupResource(group=of, resource=plural)),
        status=StorageVersionMigrationStatus(
            resource_version=version,
            conditions=tuple(Condition(**one, last_transition_time=ago(9)) for one in conditions),
        ),
    )


def actions(
    found: StorageVersionMigration, failure: Failure | None = None, served: dict[Any, Any] | None = None
) -> list[Action]:
    made, answers = controller(Settings()), {**SERVED, **(served or {})}
    seen = view(made, found, live=lambda asked: answers.get(asked[0], NotFound("no")), failure=failure)
    state = made.observe(seen, Key("", "m"))
    return every(made.diff(state)) if state is not None else []


def written(found: list[Action]) -> StorageVersionMigrationStatus:
    (action,) = found
    assert isinstance(action, PatchStatus)
    assert isinstance(action.new, StorageVersionMigration)
    return action.new.status


def said(status: StorageVersionMigrationStatus) -> list[tuple[str, str, str, str]]:
    return [(one.type, one.status, one.reason, one.message) for one in status.conditions]


@pytest.mark.parametrize(("resource", "version"), [("deployments.apps", "100"), ("pods", "101")])
def test_it_begins_with_the_version_of_now(resource: str, version: str) -> None:
    status = written(actions(migration(resource)))

    assert status.resource_version == version
    assert status.conditions == ()


def test_then_it_says_that_it_runs() -> None:
    status = written(actions(migration("deployments.apps", "100")))

    assert said(status) == [("Running", "True", "StorageVersionMigrationInProgress", "")]


def test_what_is_not_newer_is_written_and_then_it_has_succeeded() -> None:
    *rewrites, last = actions(migration("deployments.apps", "100", RUNNING))

    assert rewrites == [Rewrite(thing("old", "90"), NAME), Rewrite(thing("last", "100"), NAME)]
    status = written([last])
    assert said(status) == [
        ("Running", "False", "StorageVersionMigrationInProgress", ""),
        ("Succeeded", "True", "StorageVersionMigrationSucceeded", ""),
    ]
    assert status.conditions[0].last_transition_time == ago(9)
    assert status.conditions[1].last_transition_time == NOW


@pytest.mark.parametrize("kind", ["Succeeded", "Failed"])
def test_what_has_ended_is_left_alone(kind: str) -> None:
    ended: dict[str, Any] = {"type": kind, "status": "True", "reason": "r", "message": ""}

    assert actions(migration("deployments.apps", "100", ended)) == []


@pytest.mark.parametrize("resource", ["widgets", "widgets.apps", "widgets.example.com", "widgets.gone"])
def test_a_kind_that_may_come_is_waited_for(resource: str) -> None:
    found = actions(migration(resource, made=ago(59)))

    assert all(isinstance(one, Again) for one in found)
    assert found


@pytest.mark.parametrize(
    ("version", "why"),
    [
        ("", "resource does not exist in discovery"),
        ("100", "migration encountered unhandled error: unable to obtain GVR from discovery"),
    ],
)
def test_a_kind_that_does_not_come_fails_it(version: str, why: str) -> None:
    status = written(actions(migration("widgets.example.com", version, made=ago(61))))

    assert said(status) == [("Failed", "True", "StorageVersionMigrationFailed", why)]


def test_what_cannot_be_written_fails_it() -> None:
    status = written(actions(migration("scales.apps")))

    why = (
        'resource "apps/v1beta1, Resource=scales" does not support discovery operations: [update patch list]'
    )
    assert said(status) == [("Failed", "True", "StorageVersionMigrationFailed", why)]


@pytest.mark.parametrize(
    ("changed", "version", "why"),
    [
        (
            {"/apis/apps/v1/deployments?limit=1": {"metadata": {"resourceVersion": "0"}}},
            "",
            "for apps/v1, Resource=deployments is not valid: resource version is not well formed: 0",
        ),
        (
            {DEPLOYMENT: (thing("odd", "abc"),)},
            "100",
            "migration encountered unhandled error: resource version is not well formed: abc",
        ),
    ],
)
def test_versions_that_cannot_be_compared_fail_it(changed: dict[Any, Any], version: str, why: str) -> None:
    given = migration("deployments.apps", version, *([RUNNING] if version else []))

    assert said(written(actions(given, served=changed)))[-1][3].endswith(why)


def failed(problem: ApiError) -> list[Action]:
    failure = Failure(Rewrite(thing("old", "90"), NAME), problem)
    return actions(migration("deployments.apps", "100", RUNNING), failure)


@pytest.mark.parametrize(
    "problem", [InternalError("no"), ServiceUnavailable("no"), Timeout("no"), TooManyRequests("no")]
)
def test_what_will_pass_is_tried_again(problem: ApiError) -> None:
    assert Rewrite(thing("old", "90"), NAME) in failed(problem)


@pytest.mark.parametrize("problem", [Forbidden("you may not"), Invalid("it is not right")])
def test_what_will_not_pass_fails_it(problem: ApiError) -> None:
    status = written(failed(problem))

    why = f"migration encountered unhandled error: {problem}"
    assert said(status) == [
        ("Running", "False", "StorageVersionMigrationInProgress", ""),
        ("Failed", "True", "StorageVersionMigrationFailed", why),
    ]


def test_discovery_that_does_not_answer_is_asked_again() -> None:
    with pytest.raises(ServiceUnavailable):
        actions(migration(), served={"/apis": ServiceUnavailable("no")})
