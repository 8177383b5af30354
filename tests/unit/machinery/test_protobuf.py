"""Protobuf bodies: the bytes are upstream's, and nothing is lost on the way there and back."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kybern.machinery import protobuf, wire
from kybern.machinery.errors import BadRequest, NotAcceptable

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
    found = protobuf.decode(protobuf.encode(body))
    assert shown(found) == shown(without_nulls(body))


def shown(value: Any) -> Any:
    """Without the empty objects that stand for structs inside their owners."""
    if isinstance(value, dict):
        return {key: shown(each) for key, each in value.items() if each != {}}
    return [shown(each) for each in value] if isinstance(value, list) else value


def test_the_bytes_are_those_of_upstream() -> None:
    # What kubectl 1.36 sends for a namespace called a, by the definition of the envelope.
    body = (
        b"k8s\x00\n\x0f\n\x02v1\x12\tNamespace\x12\x0b\n\x09\n\x01a\x12\x00\x1a\x00\x22\x00\x1a\x00\x22\x00"
    )
    assert protobuf.decode(body) == {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": "a", "generateName": "", "namespace": "", "selfLink": ""},
    }
    assert protobuf.encode({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "a"}}) == (
        b"k8s\x00\n\x0f\n\x02v1\x12\tNamespace\x12\x05\n\x03\n\x01a\x1a\x00\x22\x00"
    )


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
    frame = protobuf.encode_event("ADDED", BODIES[1])
    assert int.from_bytes(frame[:4], "big") == len(frame) - 4
    [(_, _, event), (_, _, value)] = wire.fields(memoryview(frame)[4:])
    assert wire.binary(event) == b"ADDED"
    assert protobuf.read_raw(memoryview(wire.binary(value))) == BODIES[1]


def test_an_object_in_an_envelope_inside_another_is_read() -> None:
    inner = wire.delimited(1, protobuf.encode(BODIES[1]))
    assert protobuf.read_raw(memoryview(inner)) == BODIES[1]


@given(st.integers(-(2**63), 2**63 - 1))
def test_whole_numbers_come_back(number: int) -> None:
    read, at = wire.read_varint(memoryview(wire.varint(number)), 0)
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
