"""What upstream's API server left in etcd is served, and what we leave there it could read: by etcd's own contents.

Values of upstream are made by hand: protobuf with google.protobuf (``oracle``), JSON in Go's order.
"""

import base64
import json
import time
import urllib.request
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

import grpc
import pytest

from kybern._proto import etcd_pb2, etcd_pb2_grpc
from tests.protocol.apiserver_bed import Lab, Server
from tests.protocol.test_apiserver import config_map
from tests.unit.machinery import oracle

pytestmark = pytest.mark.etcd

NAMESPACE = "/api/v1/namespaces/default"
SLICE = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices/kubernetes"
UPSTREAMS = "--etcd-prefix=/registry"
RANGE = "/registry/ranges/servicenodeports"


class Etcd:
    """etcd without any of our own code between."""

    def __init__(self, endpoint: str) -> None:
        self.channel = grpc.insecure_channel(endpoint.removeprefix("http://"))
        self.kv = etcd_pb2_grpc.KVStub(self.channel)

    def put(self, key: str, value: bytes) -> int:
        answer = self.kv.Put(etcd_pb2.PutRequest(key=key.encode(), value=value), timeout=5)
        return int(answer.header.revision)

    def get(self, key: str) -> bytes:
        found = self.kv.Range(etcd_pb2.RangeRequest(key=key.encode()), timeout=5).kvs
        assert found, key
        value: bytes = found[0].value
        return value

    def keys(self, prefix: str) -> list[str]:
        end = prefix[:-1].encode() + bytes((ord(prefix[-1]) + 1,))
        request = etcd_pb2.RangeRequest(key=prefix.encode(), range_end=end, keys_only=True)
        return [pair.key.decode() for pair in self.kv.Range(request, timeout=5).kvs]


@pytest.fixture(scope="module")
def kept(etcd: Any) -> Iterator[Etcd]:
    found = Etcd(etcd.endpoint)
    yield found
    found.channel.close()


@pytest.fixture(scope="module")
def server(lab: Lab, kept: Etcd, free_ports: Any) -> Server:
    """Started on an etcd in which upstream has taken node ports already."""
    bits = (1 << 32000 - 30000) | 1
    data = base64.b64encode(bits.to_bytes((bits.bit_length() + 7) // 8, "big")).decode()
    taken = {"apiVersion": "v1", "kind": "RangeAllocation", "range": "30000-32767", "data": data}
    kept.put(RANGE, oracle.envelope(taken))
    found = lab.start(free_ports(), "--advertise-address=192.0.2.1", UPSTREAMS)
    found.ask("POST", f"{NAMESPACE}/serviceaccounts", {"metadata": {"name": "default"}})
    return found


def pod(name: str) -> dict[str, Any]:
    """As upstream stores it."""
    return {
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": name, "namespace": "default", "uid": "0d9ffb2f-3b0c-4a58-8c1f-3ad7d3a7b6a1", "generation": 1,
            "creationTimestamp": "2026-01-01T00:00:00Z", "labels": {"from": "upstream"},
            "managedFields": [{
                "manager": "kubectl", "operation": "Update", "apiVersion": "v1", "time": "2026-01-01T00:00:00Z",
                "fieldsType": "FieldsV1", "fieldsV1": {"f:metadata": {"f:labels": {"f:from": {}}}},
            }],
        },
        "spec": {
            "containers": [{
                "name": "c", "image": "busybox", "resources": {"limits": {"memory": "64Mi"}, "requests": {"memory": "64Mi"}},
                "terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File",
                "imagePullPolicy": "Always",
            }],
            "restartPolicy": "Always", "terminationGracePeriodSeconds": 30, "dnsPolicy": "ClusterFirst",
            "securityContext": {}, "schedulerName": "default-scheduler", "enableServiceLinks": True,
        },
        "status": {"phase": "Pending", "qosClass": "Burstable"},
    }  # fmt: skip


def test_a_pod_of_upstreams_is_read_listed_and_changed(server: Server, kept: Etcd) -> None:
    key, wanted = "/registry/pods/default/theirs", pod("theirs")
    revision = str(kept.put(key, oracle.envelope(wanted)))
    wanted["metadata"]["resourceVersion"] = revision

    assert server.ask("GET", f"{NAMESPACE}/pods/theirs") == (200, wanted)
    upstreams = f"{NAMESPACE}/pods?labelSelector=from%3Dupstream"
    listed = server.ask("GET", upstreams)[1]["items"]
    assert listed == [{key: wanted[key] for key in ("metadata", "spec", "status")}]
    exact = server.ask("GET", f"{upstreams}&resourceVersion={revision}&resourceVersionMatch=Exact")[1]
    assert [item["metadata"]["name"] for item in exact["items"]] == ["theirs"]
    wanted["metadata"]["labels"]["to"] = "ours"
    code, changed = server.ask("PUT", f"{NAMESPACE}/pods/theirs", wanted)
    assert code == 200, changed
    stored = json.loads(kept.get(key))
    assert (stored["apiVersion"], stored["kind"]) == ("v1", "Pod")
    assert stored["metadata"]["labels"] == {"from": "upstream", "to": "ours"}
    assert stored["metadata"].keys().isdisjoint({"resourceVersion", "selfLink"})
    assert {**changed["metadata"], "resourceVersion": None} == {**stored["metadata"], "resourceVersion": None}
    assert stored["spec"]["containers"] == wanted["spec"]["containers"]


def test_watchers_see_what_upstream_writes(server: Server, kept: Etcd) -> None:
    key = "/registry/configmaps/default/seen"
    query = {"watch": "1", "fieldSelector": "metadata.name=seen", "timeoutSeconds": "10"}
    metadata = {"name": "seen", "namespace": "default", "uid": "u"}
    path = f"{server.url}{NAMESPACE}/configmaps?{urlencode(query)}"
    with urllib.request.urlopen(path, timeout=10, context=server.context()) as answer:
        kept.put(
            key,
            oracle.envelope(
                {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"a": "1"}}
            ),
        )
        value = {"kind": "ConfigMap", "apiVersion": "v1", "metadata": metadata, "data": {"a": "2"}}
        revision = kept.put(key, json.dumps(value).encode() + b"\n")
        first = json.loads(answer.readline())
        second = json.loads(answer.readline())

    assert (first["type"], first["object"]["data"]) == ("ADDED", {"a": "1"})
    assert (second["type"], second["object"]["data"]) == ("MODIFIED", {"a": "2"})
    assert second["object"]["metadata"] == {**metadata, "resourceVersion": str(revision)}


def test_what_nobody_can_read_is_in_nobodys_way(server: Server, kept: Etcd) -> None:
    server.ask("POST", f"{NAMESPACE}/secrets", {"metadata": {"name": "plain"}})
    kept.put("/registry/secrets/default/sealed", b"k8s:enc:aescbc:v1:key1:\x00\x01\x02")

    code, answer = server.ask("GET", f"{NAMESPACE}/secrets/sealed")
    assert code == 500
    assert "cannot read a stored Secret" in answer["message"]
    names = [item["metadata"]["name"] for item in server.ask("GET", f"{NAMESPACE}/secrets")[1]["items"]]
    assert "plain" in names
    assert "sealed" not in names
    assert server.ask("POST", f"{NAMESPACE}/secrets", {"metadata": {"name": "sealed"}})[0] == 409


def test_node_ports_that_upstream_gave_are_not_given_again(server: Server, kept: Etcd) -> None:
    def service(name: str, port: int) -> dict[str, Any]:
        ports = [{"port": 80, "nodePort": port}]
        return {"metadata": {"name": name}, "spec": {"type": "NodePort", "ports": ports}}

    code, refused = server.ask("POST", f"{NAMESPACE}/services", service("taken", 32000))
    made = server.ask("POST", f"{NAMESPACE}/services", service("free", 32001))[0]

    assert code == 422
    assert "provided port is already allocated" in refused["message"]
    assert made == 201
    stored = json.loads(kept.get(RANGE))
    assert (stored["apiVersion"], stored["kind"], stored["range"]) == ("v1", "RangeAllocation", "30000-32767")
    bits = int.from_bytes(base64.b64decode(stored["data"]), "big")
    assert [at for at in range(2768) if bits >> at & 1] == [0, 2000, 2001]


def test_addresses_that_upstream_gave_are_not_given_again(server: Server, kept: Etcd) -> None:
    address: dict[str, Any] = {
        "apiVersion": "networking.k8s.io/v1", "kind": "IPAddress",
        "metadata": {
            "name": "10.96.7.7", "uid": "u", "labels": {
                "ipaddress.kubernetes.io/ip-family": "IPv4", "ipaddress.kubernetes.io/managed-by": "ipallocator.k8s.io",
            },
        },
        "spec": {"parentRef": {"resource": "services", "namespace": "default", "name": "theirs"}},
    }  # fmt: skip
    kept.put("/registry/ipaddresses/10.96.7.7", oracle.envelope(address))
    body: dict[str, Any] = {
        "metadata": {"name": "s"},
        "spec": {"clusterIP": "10.96.7.7", "ports": [{"port": 80}]},
    }
    code, refused = server.ask("POST", f"{NAMESPACE}/services", body)
    body["spec"]["clusterIP"] = "10.96.7.8"
    made = server.ask("POST", f"{NAMESPACE}/services", body)[0]

    assert (code, made) == (422, 201)
    assert "provided IP is already allocated" in refused["message"]
    stored = json.loads(kept.get("/registry/ipaddresses/10.96.7.8"))
    assert stored["metadata"]["labels"] == address["metadata"]["labels"]
    assert stored["spec"] == {"parentRef": {"resource": "services", "namespace": "default", "name": "s"}}


def test_servers_of_upstreams_are_on_the_list_of_masters(server: Server, kept: Etcd) -> None:
    subsets = [{"addresses": [{"ip": "192.0.2.77"}]}]
    lease = {"apiVersion": "v1", "kind": "Endpoints", "metadata": {"generateName": "a"}, "subsets": subsets}
    key = "/registry/masterleases/192.0.2.77"
    kept.put(key, oracle.envelope(lease))
    wanted: list[str] = ["192.0.2.1", "192.0.2.77"]
    found: list[str] = []
    deadline = time.monotonic() + 15
    while time.monotonic() < deadline and found != wanted:
        answer = server.ask("GET", SLICE)[1]
        found = [address for each in answer.get("endpoints", ()) for address in each["addresses"]]
        time.sleep(0.2)
    kept.kv.DeleteRange(etcd_pb2.DeleteRangeRequest(key=key.encode()), timeout=5)

    assert found == wanted
    own = json.loads(kept.get("/registry/masterleases/192.0.2.1"))
    assert own["subsets"] == [{"addresses": [{"ip": "192.0.2.1"}]}]


SCHEMA = {"openAPIV3Schema": {"type": "object", "properties": {"spec": {"type": "object", "properties": {
    "size": {"type": "integer"},
}}}}}  # fmt: skip


def test_definitions_and_objects_of_custom_kinds_are_taken_over(server: Server, kept: Etcd) -> None:
    names = {"plural": "theirs", "singular": "their", "kind": "Their", "listKind": "TheirList"}
    now = "2026-01-01T00:00:00Z"
    definition = {
        "kind": "CustomResourceDefinition", "apiVersion": "apiextensions.k8s.io/v1beta1",
        "metadata": {"name": "theirs.up.example", "uid": "u", "generation": 1, "creationTimestamp": now},
        "spec": {
            "group": "up.example", "version": "v1", "names": names, "scope": "Namespaced", "validation": SCHEMA,
            "versions": [{"name": "v1", "served": True, "storage": True}], "conversion": {"strategy": "None"},
            "preserveUnknownFields": False,
            "additionalPrinterColumns": [{"name": "Size", "type": "integer", "JSONPath": ".spec.size"}],
        },
        "status": {
            "conditions": [
                {"type": "NamesAccepted", "status": "True", "lastTransitionTime": now, "reason": "NoConflicts"},
                {"type": "Established", "status": "True", "lastTransitionTime": now, "reason": "InitialNamesAccepted"},
            ],
            "acceptedNames": names, "storedVersions": ["v1"],
        },
    }  # fmt: skip
    thing = {
        "apiVersion": "up.example/v1",
        "kind": "Their",
        "metadata": {"name": "x", "namespace": "default"},
        "spec": {"size": 3},
    }
    kept.put("/registry/up.example/theirs/default/x", json.dumps(thing).encode() + b"\n")
    key = "/registry/apiextensions.k8s.io/customresourcedefinitions/theirs.up.example"
    kept.put(key, json.dumps(definition).encode() + b"\n")
    server.wait("/apis/up.example/v1")
    path = "/apis/up.example/v1/namespaces/default/theirs"

    assert server.ask("GET", f"{path}/x")[1]["spec"] == {"size": 3}
    assert [item["metadata"]["name"] for item in server.ask("GET", path)[1]["items"]] == ["x"]
    code, found = server.ask(
        "GET", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/theirs.up.example"
    )
    assert code == 200
    assert found["spec"]["versions"][0]["additionalPrinterColumns"][0]["jsonPath"] == ".spec.size"
    body = {"apiVersion": "up.example/v1", "kind": "Their", "metadata": {"name": "y"}, "spec": {"size": 4}}
    assert server.ask("POST", path, body)[0] == 201
    assert kept.keys("/registry/up.example/theirs/") == [
        f"/registry/up.example/theirs/default/{n}" for n in "xy"
    ]
    stored = json.loads(kept.get("/registry/up.example/theirs/default/y"))
    assert (stored["apiVersion"], stored["kind"], stored["spec"]) == ("up.example/v1", "Their", {"size": 4})


@pytest.mark.parametrize(
    ("path", "body", "key"),
    [
        (f"{NAMESPACE}/endpoints", {"metadata": {"name": "k"}}, "services/endpoints/default/k"),
        ("/api/v1/nodes", {"metadata": {"name": "k"}}, "minions/k"),
        (
            f"{NAMESPACE}/services",
            {"metadata": {"name": "k"}, "spec": {"ports": [{"port": 1}]}},
            "services/specs/default/k",
        ),
        (
            "/apis/networking.k8s.io/v1/namespaces/default/ingresses",
            {"metadata": {"name": "k"}, "spec": {"defaultBackend": {"service": {"name": "s", "port": {"number": 1}}}}},
            "ingress/default/k",
        ),
        (
            "/apis/coordination.k8s.io/v1/namespaces/default/leases",
            {"metadata": {"name": "k"}},
            "leases/default/k",
        ),
        (
            "/apis/apiregistration.k8s.io/v1/apiservices",
            {"metadata": {"name": "v1.k.example"}, "spec": {
                "group": "k.example", "version": "v1", "groupPriorityMinimum": 9, "versionPriority": 9,
                "service": {"namespace": "default", "name": "s"}, "insecureSkipTLSVerify": True,
            }},
            "apiregistration.k8s.io/apiservices/v1.k.example",
        ),
    ],
)  # fmt: skip
def test_objects_are_put_where_upstream_puts_them(
    server: Server, kept: Etcd, path: str, body: dict[str, Any], key: str
) -> None:
    code, made = server.ask("POST", path, body)
    assert code == 201, made
    stored = json.loads(kept.get(f"/registry/{key}"))

    assert (stored["apiVersion"], stored["kind"]) == (made["apiVersion"], made["kind"])
    # The server's own loops may have written its status meanwhile.
    later = {
        key: value for key, value in made["metadata"].items() if key in ("resourceVersion", "managedFields")
    }
    assert {**stored["metadata"], **later} == made["metadata"]


def test_what_is_another_version_in_the_store_is_that_for_us_too(server: Server, kept: Etcd) -> None:
    event = {
        "metadata": {"name": "e"}, "regarding": {"kind": "Pod", "name": "p", "namespace": "default"}, "reason": "R",
        "eventTime": "2026-01-01T00:00:00.000000Z", "reportingController": "c", "reportingInstance": "i",
        "action": "A", "type": "Normal", "note": "n",
    }  # fmt: skip
    assert server.ask("POST", "/apis/events.k8s.io/v1/namespaces/default/events", event)[0] == 201
    stored = json.loads(kept.get("/registry/events/default/e"))
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "d"}
    spec = {
        "scaleTargetRef": target,
        "minReplicas": 1,
        "maxReplicas": 3,
        "targetCPUUtilizationPercentage": 50,
    }
    path = "/apis/autoscaling/v1/namespaces/default/horizontalpodautoscalers"
    assert server.ask("POST", path, {"metadata": {"name": "h"}, "spec": spec})[0] == 201
    scaler = json.loads(kept.get("/registry/horizontalpodautoscalers/default/h"))

    assert (stored["apiVersion"], stored["kind"], stored["message"]) == ("v1", "Event", "n")
    assert scaler["apiVersion"] == "autoscaling/v2"
    assert scaler["spec"]["metrics"][0]["resource"]["target"]["averageUtilization"] == 50


def test_a_list_goes_on_after_its_revision_is_forgotten(server: Server, kept: Etcd) -> None:
    for name in ("old-a", "old-b", "old-c"):
        body = config_map(name)
        body["metadata"]["labels"] = {"old": "1"}
        server.ask("POST", f"{NAMESPACE}/configmaps", body)
    pages = f"{NAMESPACE}/configmaps?labelSelector=old%3D1&limit=1&continue="
    first = server.ask("GET", pages)[1]
    revision = kept.put("/elsewhere", b"")
    kept.kv.Compact(etcd_pb2.CompactionRequest(revision=revision), timeout=5)
    code, gone = server.ask("GET", pages + first["metadata"]["continue"])
    rest = server.ask("GET", pages + gone["metadata"]["continue"])[1]

    assert (code, gone["reason"]) == (410, "Expired")
    assert [item["metadata"]["name"] for item in first["items"] + rest["items"]] == ["old-a", "old-b"]
    assert int(rest["metadata"]["resourceVersion"]) >= revision


def test_etcd_forgets_what_the_record_says(server: Server, lab: Lab, kept: Etcd, free_ports: Any) -> None:
    quick = lab.start(
        free_ports(), "--etcd-compaction-interval=1s", "--endpoint-reconciler-type=none", UPSTREAMS
    )
    record = 0
    deadline = time.monotonic() + 15
    try:
        while time.monotonic() < deadline and not record:
            server.ask("POST", f"{NAMESPACE}/configmaps", config_map(f"tick-{time.monotonic_ns()}"))
            if kept.keys("compact_rev_key"):
                record = int(kept.get("compact_rev_key"))
            time.sleep(0.1)
    finally:
        quick.process.terminate()
        quick.process.wait(10)
    record = int(kept.get("compact_rev_key"))

    assert record > 0
    with pytest.raises(grpc.RpcError, match="required revision has been compacted"):
        kept.kv.Range(etcd_pb2.RangeRequest(key=b"x", revision=record - 1), timeout=5)
    kept.kv.Range(etcd_pb2.RangeRequest(key=b"x", revision=record + 1), timeout=5)
