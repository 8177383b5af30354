"""Protobuf bodies: the bytes are upstream's, and nothing is lost on the way there and back."""

import base64
import json
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kybern.machinery import protobuf, wire
from kybern.machinery.errors import BadRequest, NotAcceptable
from tests.unit.machinery import oracle

META = {
    "name": "n",
    "namespace": "ns",
    "labels": {"a": "b"},
    "creationTimestamp": "2020-01-01T00:00:00Z",
    "generation": 3,
    "ownerReferences": [{"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": "u", "controller": True}],
    "managedFields": [{"manager": "m", "fieldsType": "FieldsV1", "fieldsV1": {"f:a": {".": {}}}}],
}
BODIES: list[dict[str, Any]] = [
    {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": META,
        "spec": {
            "containers": [
                {
                    "name": "c",
                    "resources": {"limits": {"cpu": "500m", "memory": "1Gi"}},
                    "livenessProbe": {"httpGet": {"port": 80, "path": "/"}, "periodSeconds": 5},
                    "readinessProbe": {"tcpSocket": {"port": "http"}},
                    "env": [{"name": "A", "valueFrom": {"configMapKeyRef": {"name": "c", "key": "k"}}}],
                }
            ],
            "volumes": [
                {"name": "e", "emptyDir": {}},
                {
                    "name": "c",
                    "configMap": {"name": "x", "defaultMode": 420, "items": [{"key": "a", "path": "b"}]},
                },
            ],
            "priority": -5,
            "hostNetwork": True,
        },
        "status": {"startTime": "2020-01-01T00:00:00Z", "phase": "Running"},
    },
    {"apiVersion": "v1", "kind": "Secret", "data": {"k": "AAEC/w==", "empty": ""}, "type": "Opaque"},
    {
        "apiVersion": "v1",
        "kind": "Event",
        "eventTime": "2020-01-01T00:00:00.123456Z",
        "firstTimestamp": None,
        "count": 2,
    },
    {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "spec": {
            "holderIdentity": "x",
            "leaseDurationSeconds": 15,
            "renewTime": "2020-01-01T00:00:00.000001Z",
        },
    },
    {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "spec": {
            "group": "g",
            "versions": [
                {
                    "name": "v1",
                    "schema": {
                        "openAPIV3Schema": {
                            "type": "object",
                            "additionalProperties": {"type": "string"},
                            "default": {"a": [1, None]},
                            "enum": ["x", 1],
                            "maximum": 1.5,
                            "properties": {"p": {"items": {"type": "string"}, "additionalProperties": False}},
                            "x-kubernetes-list-map-keys": ["a"],
                        }
                    },
                }
            ],
        },
    },
    {"apiVersion": "apps/v1", "kind": "ControllerRevision", "data": {"a": {"b": None}}, "revision": 2},
    {
        "apiVersion": "apps/v1",
        "kind": "DeleteOptions",
        "gracePeriodSeconds": 0,
        "preconditions": {"uid": "u"},
    },
    {"apiVersion": "autoscaling/v1", "kind": "Scale", "spec": {"replicas": 3}, "status": {"replicas": 1}},
    {"apiVersion": "v1", "kind": "Binding", "target": {"kind": "Node", "name": "n"}},
    {"apiVersion": "policy/v1", "kind": "Eviction", "deleteOptions": {"dryRun": ["All"]}},
    {
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenRequest",
        "spec": {
            "audiences": ["a"],
            "expirationSeconds": 3600,
            "boundObjectRef": {"uid": "u", "kind": "Pod"},
        },
    },
    {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SubjectAccessReview",
        "spec": {"user": "u", "extra": {"k": ["a", "b"]}},
    },
    {
        "apiVersion": "v1",
        "kind": "Status",
        "status": "Failure",
        "code": 404,
        "details": {"retryAfterSeconds": 1},
    },
    {
        "apiVersion": "v1",
        "kind": "PodList",
        "metadata": {"resourceVersion": "5"},
        "items": [{"metadata": META}],
    },
    {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingWebhookConfiguration",
        "webhooks": [
            {"name": "w", "rules": [{"operations": ["CREATE"], "apiGroups": [""], "resources": ["pods"]}]}
        ],
    },
]


def without_nulls(value: Any) -> Any:
    return {key: each for key, each in value.items() if each is not None}


@pytest.mark.parametrize("body", BODIES, ids=lambda body: body["kind"])
def test_a_body_comes_back(body: dict[str, Any]) -> None:
    assert holds(protobuf.decode(protobuf.encode(body)), without_nulls(body))


def holds(found: Any, wanted: Any) -> bool:
    """Whether a value has all that is wanted; what it has beyond that is empty."""
    if isinstance(wanted, dict):
        rest = [found[key] for key in found.keys() - wanted.keys()] if isinstance(found, dict) else [1]
        return all(map(empty, rest)) and all(holds(found.get(key), each) for key, each in wanted.items())
    if isinstance(wanted, list):
        return len(found) == len(wanted) and all(map(holds, found, wanted))
    return bool(found == wanted)


def empty(value: Any) -> bool:
    return all(map(empty, value.values())) if isinstance(value, dict) else value in (None, "", 0, False, "0")


@pytest.mark.parametrize("body", BODIES, ids=lambda body: body["kind"])
def test_the_bytes_are_those_that_the_facts_ask_for(body: dict[str, Any]) -> None:
    assert protobuf.encode(body) == oracle.envelope(body)


def made() -> list[dict[str, Any]]:
    """Objects of every kind as the server answers them."""
    lines = CREATES.read_text().splitlines()
    found = {json.dumps(each["made"]): each["made"] for each in map(json.loads, lines)}
    return [each for each in found.values() if each.get("apiVersion") and each.get("kind") != "Status"]


CREATES = Path(__file__).resolve().parents[2] / "data" / "api" / "creates.jsonl"


def test_objects_of_every_kind_are_written_as_the_facts_ask_for_and_come_back() -> None:
    objects = made()
    assert len({(each["apiVersion"], each["kind"]) for each in objects}) > 40
    for each in objects:
        body = protobuf.encode(each)
        assert body == oracle.envelope(each), each
        for template in each.get("spec", {}).get("volumeClaimTemplates", []):
            # Objects inside others have no names of their types in protobuf; upstream adds these when it answers.
            del template["apiVersion"], template["kind"]
        assert holds(protobuf.decode(body), each), each


def test_an_object_with_nothing_in_it_has_what_upstream_always_writes() -> None:
    # A namespace called a: metadata with its seven empty or zero fields, an empty spec, a status without a phase.
    metadata = b'\n\x01a\x12\x00\x1a\x00"\x00*\x002\x008\x00B\x00'
    inner = b"\n" + bytes((len(metadata),)) + metadata + b"\x12\x00\x1a\x02\n\x00"
    body = b"k8s\x00\n\x0f\n\x02v1\x12\tNamespace\x12" + bytes((len(inner),)) + inner + b'\x1a\x00"\x00'
    value = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "a"}}
    assert protobuf.encode(value) == body
    assert holds(protobuf.decode(body), value)


def test_fields_of_a_newer_client_are_skipped() -> None:
    inner = wire.delimited(1, wire.text(1, "a") + wire.text(99, "?")) + wire.tag(77, wire.VARINT) + b"\x05"
    body = (
        protobuf.MAGIC
        + wire.delimited(1, wire.text(1, "v1") + wire.text(2, "Namespace"))
        + wire.delimited(2, inner)
    )
    assert protobuf.decode(body)["metadata"] == {"name": "a"}


@pytest.mark.parametrize(
    "body", [b"", b"{}", b"k8s\x00\x0a\xff", b"k8s\x00\x12\x05ab", b"k8s\x00" + b"\x08" + b"\xff" * 11]
)
def test_bytes_that_are_no_body_are_refused(body: bytes) -> None:
    with pytest.raises(BadRequest):
        protobuf.decode(body)


def test_a_field_of_the_wrong_wire_type_is_refused_and_packed_numbers_are_read() -> None:
    head = wire.delimited(1, wire.text(1, "v1") + wire.text(2, "Pod"))
    security = wire.delimited(14, wire.delimited(4, b"\x01\x02"))
    body = protobuf.MAGIC + head + wire.delimited(2, wire.delimited(2, security))
    assert protobuf.decode(body)["spec"] == {"securityContext": {"supplementalGroups": [1, 2]}}
    name = wire.delimited(2, wire.delimited(1, wire.tag(1, wire.VARINT) + wire.varint(2**40)))
    with pytest.raises(BadRequest, match="wrong wireType"):
        protobuf.decode(protobuf.MAGIC + head + name)


def test_kinds_without_a_protobuf_form_are_told_apart() -> None:
    assert protobuf.known("apps/v1", "Deployment")
    assert not protobuf.known("example.com/v1", "Widget")
    with pytest.raises(NotAcceptable):
        protobuf.encode({"apiVersion": "example.com/v1", "kind": "Widget"})


def test_a_watch_event_is_framed() -> None:
    frame = protobuf.frame("ADDED", protobuf.encode(BODIES[1]))
    assert int.from_bytes(frame[:4], "big") == len(frame) - 4
    [(_, _, event), (_, _, value)] = wire.fields(frame[4:])
    assert wire.binary(event) == b"ADDED"
    assert holds(protobuf.read_raw(wire.binary(value)), BODIES[1])
    [(kind, name, secret)] = oracle.events(frame)
    assert (kind, name, secret.type) == ("ADDED", "Secret", "Opaque")


def test_an_object_in_an_envelope_inside_another_is_read() -> None:
    inner = wire.delimited(1, protobuf.encode(BODIES[1]))
    assert holds(protobuf.read_raw(inner), BODIES[1])


@given(st.integers(-(2**63), 2**63 - 1))
def test_whole_numbers_come_back(number: int) -> None:
    read, at = wire.read_varint(wire.varint(number), 0)
    assert wire.signed(read) == number
    assert at == len(wire.varint(number))


@given(
    st.dictionaries(st.text("ab", max_size=3), st.text(st.characters(codec="utf-8"), max_size=5)), st.binary()
)
def test_maps_and_bytes_come_back(data: dict[str, str], junk: bytes) -> None:
    body = {"apiVersion": "v1", "kind": "ConfigMap", "data": data}
    assert protobuf.decode(protobuf.encode(body)).get("data", {}) == data
    try:
        protobuf.decode(protobuf.MAGIC + junk)
    except BadRequest:
        return


def values(full: str, depth: int) -> st.SearchStrategy[dict[str, Any]]:
    """JSON objects of a message, as the schema's walk leaves them: no nulls, no empty lists or maps."""
    package, _, name = full.rpartition(".")
    fields: dict[str, st.SearchStrategy[Any]] = {}
    for row in oracle.packages()[package][name]:
        if not row.get("inline") and (found := several(row, package, depth)) is not None:
            fields[row.get("json") or row["name"]] = found
    return st.fixed_dictionaries({}, optional=fields)


def several(row: dict[str, Any], package: str, depth: int) -> st.SearchStrategy[Any] | None:
    kind, mapped = row["type"], row["type"].startswith("map<")
    one = single(kind[4:-1].partition(",")[2].strip() if mapped else kind, package, depth)
    if one is None or not (mapped or row.get("repeated")):
        return one
    return (
        st.dictionaries(WORDS, one, min_size=1, max_size=3)
        if mapped
        else st.lists(one, min_size=1, max_size=2)
    )


WORDS = st.text(st.characters(codec="utf-8"), max_size=4)
FREE = st.dictionaries(WORDS, st.integers(-9, 9) | st.booleans() | st.none() | WORDS, min_size=1, max_size=2)
MOMENTS = st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30))  # noqa: DTZ001  # hypothesis wants them naive
LEAVES: dict[str, st.SearchStrategy[Any]] = {
    "string": WORDS,
    "bool": st.booleans(),
    "int32": st.integers(-(2**31), 2**31 - 1),
    "int64": st.integers(-(2**63), 2**63 - 1),
    "double": st.floats(allow_nan=False),
    "bytes": st.binary(min_size=1).map(lambda each: base64.b64encode(each).decode()),
    "Quantity": st.sampled_from(["0", "100m", "1Gi"]),
    "IntOrString": st.integers(-(2**31), 2**31 - 1) | WORDS,
    "Time": MOMENTS.map(lambda each: each.replace(microsecond=0).isoformat() + "Z"),
    "MicroTime": MOMENTS.map(lambda each: each.isoformat(timespec="microseconds") + "Z"),
    "FieldsV1": FREE,
    "JSON": FREE,
    "RawExtension": FREE,
    "Verbs": st.lists(WORDS, min_size=1, max_size=2),
    "ExtraValue": st.lists(WORDS, min_size=1, max_size=2),
}


def single(kind: str, package: str, depth: int) -> st.SearchStrategy[Any] | None:
    name = kind.rpartition(".")[2]
    if kind in LEAVES or name in LEAVES:
        return LEAVES[name]
    if depth == 0 or "PropsOr" in name:
        return None
    return values(kind.lstrip(".") if "." in kind else f"{package}.{kind}", depth - 1)


SHAPES = ["v1 Pod", "v1 Node", "v1 Service", "apps/v1 Deployment", "batch/v1 Job", "autoscaling/v2 HorizontalPodAutoscaler",
          "resource.k8s.io/v1 ResourceClaim", "admissionregistration.k8s.io/v1 ValidatingAdmissionPolicy",
          "apiextensions.k8s.io/v1 CustomResourceDefinition", "apiregistration.k8s.io/v1 APIService", "v1 Event",
          "authorization.k8s.io/v1 SubjectAccessReview", "networking.k8s.io/v1 Ingress", "v1 Status"]  # fmt: skip


@pytest.mark.parametrize("shape", SHAPES)
@given(data=st.data())
@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
def test_whatever_an_object_holds_is_written_as_the_facts_ask_for_and_comes_back(
    shape: str, data: st.DataObject
) -> None:
    version, _, kind = shape.partition(" ")
    value = {**data.draw(values(oracle.message_of(version, kind), 5)), "apiVersion": version, "kind": kind}
    body = protobuf.encode(value)
    assert body == oracle.envelope(value)
    assert holds(protobuf.decode(body), value)
