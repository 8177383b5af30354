"""A storage version migration on a real API server and etcd: what lies there in an old form is written anew, no more."""

import copy
import time
from collections.abc import Callable
from typing import Any

import grpc
import pytest

from kybern._proto import etcd_pb2, etcd_pb2_grpc
from tests.protocol.apiserver_bed import Lab, Server
from tests.protocol.controllers_bed import CORE, Cluster, manage

pytestmark = pytest.mark.etcd

GATE = "--feature-gates=StorageVersionMigrator=true"
SWITCH = "--runtime-config=storagemigration.k8s.io/v1beta1=true"
API = "/apis/storagemigration.k8s.io/v1beta1"
MIGRATIONS = f"{API}/storageversionmigrations"
CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"


def version(name: str, *, storage: bool) -> dict[str, Any]:
    schema = {
        "type": "object",
        "properties": {"spec": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}},
    }
    return {"name": name, "served": True, "storage": storage, "schema": {"openAPIV3Schema": schema}}


DEFINITION = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "parts.wire.example.com"},
    "spec": {
        "group": "wire.example.com",
        "scope": "Namespaced",
        "names": {"plural": "parts", "kind": "Part"},
        "versions": [version("v1", storage=True), version("v2", storage=False)],
    },
}


@pytest.fixture(scope="module")
def cluster(lab: Lab, free_ports: Callable[[], int]) -> Cluster:
    server = lab.start(free_ports(), GATE, SWITCH)
    manage(lab, server, free_ports(), GATE)
    return Cluster(lab, server, "migrations")


@pytest.fixture
def off(lab: Lab, free_ports: Callable[[], int]) -> Callable[..., Server]:
    """Another cluster's server: one of the same would take back the APIService of what it does not serve."""
    return lambda *flags: lab.start(free_ports(), "--etcd-prefix=/off", *flags)


def stored(lab: Lab, prefix: str) -> dict[str, tuple[int, bytes]]:
    """Revision and value of the keys below a prefix, by their last part."""
    start = f"/{lab.directory.name}/{prefix}/".encode()
    with grpc.insecure_channel(lab.etcd.endpoint.removeprefix("http://")) as channel:
        asked = etcd_pb2.RangeRequest(key=start, range_end=start[:-1] + b"0")
        found = etcd_pb2_grpc.KVStub(channel).Range(asked, timeout=5).kvs
    return {pair.key.decode().rsplit("/", 1)[1]: (pair.mod_revision, pair.value) for pair in found}


def migrated(cluster: Cluster, name: str, resource: str, group: str = "") -> dict[str, Any]:
    """The status at the end."""
    wanted = {"group": group, "resource": resource}
    cluster.make(MIGRATIONS, {"metadata": {"name": name}, "spec": {"resource": wanted}})
    found = cluster.until(
        f"{MIGRATIONS}/{name}",
        lambda raw: (
            {one["type"] for one in (raw.get("status") or {}).get("conditions") or ()}
            & {"Succeeded", "Failed"}
        ),
        90,
    )
    return dict(found["status"])


def told(status: dict[str, Any]) -> list[tuple[str, str, str, str]]:
    return [(one["type"], one["status"], one["reason"], one["message"]) for one in status["conditions"]]


SUCCEEDED = [
    ("Running", "False", "StorageVersionMigrationInProgress", ""),
    ("Succeeded", "True", "StorageVersionMigrationSucceeded", ""),
]


def test_custom_objects_are_stored_in_the_version_of_today(cluster: Cluster, lab: Lab) -> None:
    definition = copy.deepcopy(DEFINITION)
    cluster.make(CRDS, definition)
    parts = cluster.path("/apis/wire.example.com/v1", "parts")
    cluster.until(parts, bool)
    for number in range(40):
        body = {"apiVersion": "wire.example.com/v1", "kind": "Part", "metadata": {"name": f"p{number}"}}
        cluster.make(parts, {**body, "spec": {"number": number}})

    def switch(found: dict[str, Any]) -> None:
        found["spec"]["versions"] = [version("v1", storage=False), version("v2", storage=True)]

    cluster.change(f"{CRDS}/parts.wire.example.com", switch)
    cluster.until(parts.replace("/v1/", "/v2/"), bool)
    probe = cluster.path("/apis/wire.example.com/v2", "parts")
    deadline = time.monotonic() + 20
    where = "wire.example.com/parts"
    while True:
        # The server stores in the new version from some moment on; an object that is made says so.
        name = f"q{time.monotonic_ns()}"
        body = {"apiVersion": "wire.example.com/v2", "kind": "Part", "metadata": {"name": name}}
        cluster.make(probe, body)
        if b"wire.example.com/v2" in stored(lab, f"{where}/{cluster.namespace}")[name][1]:
            break
        assert time.monotonic() < deadline
    before = stored(lab, f"{where}/{cluster.namespace}")
    assert sum(b'"wire.example.com/v1"' in value for _, value in before.values()) >= 40

    status = migrated(cluster, "parts", "parts", "wire.example.com")

    after = stored(lab, f"{where}/{cluster.namespace}")
    assert told(status) == SUCCEEDED
    assert all(value.startswith(b'{"apiVersion":"wire.example.com/v2",') for _, value in after.values())
    assert after[name] == before[name]
    assert cluster.get(f"{parts}/p7")["spec"] == {"number": 7}


def test_what_is_stored_as_today_is_left_as_it_is(cluster: Cluster, lab: Lab) -> None:
    path = cluster.path(CORE, "configmaps")
    for number in range(3):
        cluster.make(path, {"metadata": {"name": f"c{number}"}, "data": {"k": "v"}})
    before = stored(lab, f"configmaps/{cluster.namespace}")

    status = migrated(cluster, "configmaps", "configmaps")

    assert told(status) == SUCCEEDED
    assert int(status["resourceVersion"]) >= max(revision for revision, _ in before.values())
    assert stored(lab, f"configmaps/{cluster.namespace}") == before


def test_a_kind_that_cannot_be_written_says_so(cluster: Cluster) -> None:
    status = migrated(cluster, "reviews", "tokenreviews", "authentication.k8s.io")

    which = "authentication.k8s.io/v1, Resource=tokenreviews"
    why = f'resource "{which}" does not support discovery operations: [update patch list]'
    assert told(status) == [("Failed", "True", "StorageVersionMigrationFailed", why)]


@pytest.mark.parametrize("flags", [(), (GATE,), (SWITCH,)])
def test_it_is_served_only_when_both_switches_are_on(
    off: Callable[..., Server], flags: tuple[str, ...]
) -> None:
    server = off(*flags)
    groups = server.ask("GET", "/apis")[1]["groups"]

    assert server.ask("GET", MIGRATIONS)[0] == 404
    assert "storagemigration.k8s.io" not in {one["name"] for one in groups}


def test_it_is_described_where_it_is_served(cluster: Cluster) -> None:
    code, listed = cluster.ask("GET", API)
    documents = cluster.get("/openapi/v3")["paths"]
    service = cluster.until(
        "/apis/apiregistration.k8s.io/v1/apiservices/v1beta1.storagemigration.k8s.io", bool
    )

    assert (code, [one["name"] for one in listed["resources"]]) == (
        200,
        ["storageversionmigrations", "storageversionmigrations/status"],
    )
    assert "apis/storagemigration.k8s.io/v1beta1" in documents
    assert (service["spec"]["groupPriorityMinimum"], service["spec"]["versionPriority"]) == (15800, 9)
