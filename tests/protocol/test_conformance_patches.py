"""The general test of upstream's conformance tests for one kind: every way to change it, strictly, and what is watched.

Objects are sent as clients in Go send them: with a status that says nothing, and patches that name what they are for.
"""

import copy
from collections.abc import Iterator
from typing import Any

import pytest

from tests.protocol.apiserver_bed import Lab, Server
from tests.protocol.requests_bed import APPLY, JSON_PATCH, MERGE, STRATEGIC, Api, Raw
from tests.protocol.test_api_lifecycles import ROWS, Row, contains

pytestmark = pytest.mark.etcd

MARK = {"test.example.com": "test"}
LABEL = "e2e-test.kubernetes.io"


@pytest.fixture(scope="module")
def api(lab: Lab, free_ports: Any) -> Api:
    server: Server = lab.start(free_ports(), "--endpoint-reconciler-type=none")
    found = Api(server)
    found.namespace("patches")
    return found


def named(found: Raw, row: Row, part: Raw) -> Raw:
    """A patch with the names of what it is for, as the general test completes it."""
    metadata = {key: found["metadata"][key] for key in ("name", "uid")}
    if row.namespaced:
        metadata["namespace"] = found["metadata"]["namespace"]
    return {
        **part,
        "apiVersion": found["apiVersion"],
        "kind": found["kind"],
        "metadata": {**part.get("metadata", {}), **metadata},
    }


def types(events: Iterator[tuple[str, Raw]], count: int) -> list[str]:
    return [next(events)[0] for _ in range(count)]


class Life:
    """One object of a row that is made, changed in one way, and deleted again."""

    def __init__(self, api: Api, row: Row) -> None:
        self.api, self.row = api, row
        self.path = row.path("patches")
        self.label = f"all-{row.plural}"
        self.one = f"{self.path}/{row.plural}-patched"

    def make(self) -> Raw:
        metadata = {"name": f"{self.row.plural}-patched", "labels": {LABEL: self.label}}
        body = {**copy.deepcopy(self.row.body), "metadata": metadata}
        if self.row.status is not None:
            body["status"] = {}
        made: Raw = self.api.create(self.path, body, fieldValidation="Strict")
        return made

    def finish(self) -> None:
        """Delete it; no controller is here to take finalizers off, so they go first."""
        if "finalizers" in self.api.get(self.one)["metadata"]:
            self.api.patch(self.one, {"metadata": {"finalizers": None}})
        self.api.delete(self.one)
        assert self.api.code(self.one) == 404

    def patch(self, found: Raw, media: str, part: Raw, below: str = "") -> Raw:
        query = {"fieldValidation": "Strict"}
        if media == APPLY:
            query |= {"fieldManager": "test-apply", "force": "true"}
        return dict(self.api.patch(self.one + below, named(found, self.row, part), media, **query))


@pytest.mark.parametrize("media", [STRATEGIC, APPLY, MERGE, JSON_PATCH])
@pytest.mark.parametrize("row", ROWS, ids=lambda found: found.plural)
def test_every_kind_takes_every_patch(api: Api, row: Row, media: str) -> None:
    life = Life(api, row)
    since = api.get(life.path, labelSelector=f"{LABEL}={life.label}")["metadata"]["resourceVersion"]
    with api.watch(row.everywhere, labelSelector=f"{LABEL}={life.label}", resourceVersion=since) as events:
        found = life.make()
        assert types(events, 1) == ["ADDED"]
        if media == JSON_PATCH:
            change = [{"op": "add", "path": "/metadata/labels/test.example.com", "value": "test"}]
            patched = api.patch(life.one, change, media, fieldValidation="Strict")
        else:
            patched = life.patch(found, media, {"metadata": {"labels": MARK}})
        assert patched["metadata"]["labels"] == {LABEL: life.label, **MARK}
        assert patched.get("spec") == found.get("spec")
        assert int(patched["metadata"]["resourceVersion"]) > int(found["metadata"]["resourceVersion"])
        assert types(events, 1) == ["MODIFIED"]
        life.finish()


@pytest.mark.parametrize("media", [STRATEGIC, APPLY, MERGE])
@pytest.mark.parametrize(
    "row", [row for row in ROWS if row.status is not None], ids=lambda found: found.plural
)
def test_every_status_takes_every_patch(api: Api, row: Row, media: str) -> None:
    assert row.status is not None
    life = Life(api, row)
    found = life.make()

    patched = life.patch(found, media, row.status, "/status")
    assert contains(patched, row.status)
    assert patched.get("spec") == found.get("spec")
    assert api.settled(f"{life.one}/status") == api.settled(life.one)
    life.finish()


def test_an_allocation_that_holds_nothing_is_one(api: Api) -> None:
    row = next(row for row in ROWS if row.plural == "resourceclaims")
    life = Life(api, row)
    found = life.make()

    updated = api.update(f"{life.one}/status", {**found, "status": {"allocation": {}}})
    assert updated["metadata"]["resourceVersion"] != found["metadata"]["resourceVersion"]
    assert api.get(life.one)["status"] == {"allocation": {"devices": {}}}
    life.finish()


@pytest.mark.parametrize(("media", "code"), [(STRATEGIC, 422), (APPLY, 422), (MERGE, 422)])
def test_a_patch_for_another_object_of_the_name_is_refused(api: Api, media: str, code: int) -> None:
    row = next(row for row in ROWS if row.plural == "leases")
    life = Life(api, row)
    found = life.make()
    query = {"fieldManager": "test", "force": "true"} if media == APPLY else {}

    body = named(found, row, {"metadata": {"labels": MARK}})
    body["metadata"]["uid"] = "of-another"
    assert api.send("PATCH", life.one, body, media, **query).code == code
    life.finish()


def test_what_is_gone_is_not_applied_into_life(api: Api) -> None:
    row = next(row for row in ROWS if row.plural == "leases")
    life = Life(api, row)
    found = life.make()
    life.finish()

    body = named(found, row, {})
    refused = api.send("PATCH", life.one, body, APPLY, fieldManager="test")
    assert (refused.code, refused.body["reason"]) == (409, "Conflict")
    assert "uid mismatch" in refused.body["message"]
