"""Every kind in protobuf, which is what the conformance tests' typed clients send and read.

Bodies are made and read with google.protobuf (``oracle``), not with the server's own codec.
"""

import copy
from typing import Any

import pytest

from tests.protocol.apiserver_bed import Lab
from tests.protocol.requests_bed import Api, Raw
from tests.protocol.test_api_lifecycles import ROWS, Row, contains
from tests.protocol.test_apiserver_protobuf import Go

pytestmark = pytest.mark.etcd


@pytest.fixture(scope="module")
def go(lab: Lab, free_ports: Any) -> Go:
    found = Go(lab.start(free_ports(), "--endpoint-reconciler-type=none"))
    Api(found.server).namespace("proto")
    return found


def plain(found: Raw) -> Raw:
    """Without what the server counts and notes on each write."""
    found = copy.deepcopy(found)
    for key in ("resourceVersion", "managedFields", "generation"):
        found["metadata"].pop(key, None)
    return found


@pytest.mark.parametrize("row", ROWS, ids=lambda found: found.plural)
def test_every_kind_is_made_replaced_and_deleted_in_protobuf(go: Go, row: Row) -> None:
    api, path = Api(go.server), row.path("proto")
    group_version = f"{row.group}/{row.version}" if row.group else row.version
    kind = next(one["kind"] for one in api.get(row.root)["resources"] if one["name"] == row.plural)
    head = {"apiVersion": group_version, "kind": kind}
    metadata = {"name": f"{row.plural}-pb", "labels": {"pb": row.plural}}

    made = go.make(
        row.plural, {**copy.deepcopy(row.body), **head, "metadata": metadata}, path.rpartition("/")[0]
    )
    one = f"{path}/{made.metadata.name}"
    found = api.settled(one)
    found["metadata"]["labels"]["more"] = "1"
    replaced = go.send("PUT", one, found)
    assert replaced.code == 200, replaced.body
    assert replaced.opened(kind) == go.send("GET", one).opened(kind)
    assert plain(api.get(one)) == plain(found)

    if row.status is not None:
        replaced = go.send("PUT", f"{one}/status", {**api.get(one), "status": row.status["status"]})
        assert replaced.code == 200, replaced.body
        assert contains(api.get(one), row.status)
    listed = go.send("GET", f"{path}?labelSelector=pb%3D{row.plural}").opened(f"{kind}List")
    assert [item.metadata.uid for item in listed.items] == [made.metadata.uid]
    options = {**head, "kind": "DeleteOptions", "preconditions": {"uid": made.metadata.uid}}
    assert go.send("DELETE", one, options).code == 200
    assert (
        go.send("DELETE", f"{path}?labelSelector=pb%3D{row.plural}", {**head, "kind": "DeleteOptions"}).code
        == 200
    )


@pytest.mark.parametrize("below", ["status", "finalize"])
def test_what_belongs_to_a_namespace_is_replaced_in_protobuf(go: Go, below: str) -> None:
    path = "/api/v1/namespaces/proto"
    found = Api(go.server).get(path)
    found["status"]["conditions"] = [
        {"type": "X", "status": "True", "reason": "E2E", "message": f"by {below}"}
    ]
    found["spec"]["finalizers"] = ["kubernetes", f"e2e.example.com/{below}"]

    answer = go.send("PUT", f"{path}/{below}", found)
    assert answer.code == 200, answer.body
    message = answer.opened("Namespace")
    conditions = [one.message for one in message.status.conditions]
    finalizers = list(message.spec.finalizers)
    assert (conditions == [f"by {below}"]) == (below == "status")
    assert (f"e2e.example.com/{below}" in finalizers) == (below == "finalize")
