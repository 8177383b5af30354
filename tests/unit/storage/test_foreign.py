"""Values that upstream's API server wrote are read as if we had written them."""

import json
from pathlib import Path
from typing import Any

import pytest

from kybern.api.kinds import KINDS, of_kind
from kybern.machinery.kind import Kind
from kybern.storage.value import Form, Unreadable, decoded
from tests.unit.machinery import oracle

DATA = Path(__file__).resolve().parents[2] / "data"
LAYOUT = json.loads((DATA / "etcd" / "layout.json").read_text())


def made() -> list[Any]:
    """Objects of every kind as upstream answers them."""
    lines = (DATA / "api" / "creates.jsonl").read_text().splitlines()
    found = {json.dumps(each["made"], sort_keys=True): each["made"] for each in map(json.loads, lines)}
    return [
        each for each in found.values() if (kind := kind_of(each)) and kind.storage and not kind.conversion
    ]


def kind_of(raw: dict[str, Any]) -> Kind | None:
    group, _, version = raw.get("apiVersion", "").rpartition("/")
    return of_kind(group, version, raw.get("kind", ""))


OBJECTS = made()


def read(raw: dict[str, Any], value: bytes) -> Any:
    kind = kind_of(raw)
    assert kind is not None
    form = Form(kind)
    known = form.known(value)
    assert known.startswith(form.head)
    return decoded(known)


def test_there_is_an_object_of_nearly_every_kind() -> None:
    kinds = {(each["apiVersion"], each["kind"]) for each in OBJECTS}
    assert len(kinds) > 40


@pytest.mark.parametrize("raw", OBJECTS, ids=lambda raw: f"{raw['kind']}")
def test_an_object_in_protobuf_is_read_as_it_was(raw: dict[str, Any]) -> None:
    assert read(raw, oracle.envelope(raw)) == raw


@pytest.mark.parametrize("raw", OBJECTS, ids=lambda raw: f"{raw['kind']}")
def test_an_object_in_upstreams_json_is_read_as_it_was(raw: dict[str, Any]) -> None:
    value = json.dumps({"kind": raw["kind"], "apiVersion": raw["apiVersion"], **raw}).encode() + b"\n"
    assert read(raw, value) == raw


def test_what_is_older_gets_the_defaults_of_today() -> None:
    raw: dict[str, Any] = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s"}}
    raw["spec"] = {"ports": [{"port": 80}], "clusterIP": "10.0.0.1", "type": "ClusterIP"}
    found = read(raw, oracle.envelope(raw))

    assert found["spec"]["sessionAffinity"] == "None"
    assert found["spec"]["ports"] == [{"protocol": "TCP", "port": 80, "targetPort": 80}]


def test_a_policy_is_stored_in_an_older_version() -> None:
    spec = {"policyName": "p", "paramRef": {"name": "n", "parameterNotFoundAction": "Deny"}}
    raw = {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "MutatingAdmissionPolicyBinding",
        "metadata": {"name": "b"},
        "spec": spec,
    }
    beta = (
        oracle.envelope(raw)
        .replace(b"\n\x1fadmission", b"\n\x24admission")
        .replace(b".io/v1\x12", b".io/v1beta1\x12")
    )
    beta = beta[:4] + b"\n" + bytes((beta[5] + 5,)) + beta[6:]

    assert read(raw, beta) == raw


def beta(**more: Any) -> dict[str, Any]:
    names = {"plural": "ws", "singular": "w", "kind": "W", "listKind": "WList"}
    spec = {
        "group": "g.example", "version": "v1", "names": names, "scope": "Namespaced", "preserveUnknownFields": False,
        "versions": [{"name": "v1", "served": True, "storage": True}, {"name": "v2", "served": True, "storage": False}],
        "conversion": {"strategy": "None"}, **more,
    }  # fmt: skip
    status = {"conditions": None, "acceptedNames": names, "storedVersions": ["v1"]}
    return {
        "kind": "CustomResourceDefinition", "apiVersion": "apiextensions.k8s.io/v1beta1",
        "metadata": {"name": "ws.g.example"}, "spec": spec, "status": status,
    }  # fmt: skip


def definition(**more: Any) -> Any:
    raw = {"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition"}
    found = read(raw, json.dumps(beta(**more)).encode())
    assert found["apiVersion"] == raw["apiVersion"]
    return found["spec"]


def test_what_versions_of_a_definition_have_in_common_goes_to_each() -> None:
    schema = {"openAPIV3Schema": {"type": "object"}}
    columns = [{"name": "Size", "type": "integer", "JSONPath": ".spec.size"}]
    found = definition(
        validation=schema,
        subresources={"status": {}},
        additionalPrinterColumns=columns,
        selectableFields=[{"jsonPath": ".spec.size"}],
    )

    assert found.keys() == {"group", "names", "scope", "versions", "conversion"}
    for version in found["versions"]:
        assert version["schema"] == schema
        assert version["subresources"] == {"status": {}}
        assert version["additionalPrinterColumns"] == [
            {"name": "Size", "type": "integer", "jsonPath": ".spec.size"}
        ]
        assert version["selectableFields"] == [{"jsonPath": ".spec.size"}]


def test_versions_of_a_definition_keep_what_is_their_own() -> None:
    versions = beta()["spec"]["versions"]
    versions[1]["schema"] = {"openAPIV3Schema": {"type": "object"}}
    found = definition(versions=versions)

    assert ["schema" in version for version in found["versions"]] == [False, True]


def test_the_webhook_of_a_definition_has_a_place_of_its_own() -> None:
    client = {"service": {"namespace": "n", "name": "s", "port": 443}, "caBundle": "AAAA"}
    conversion = {
        "strategy": "Webhook",
        "webhookClientConfig": client,
        "conversionReviewVersions": ["v1"],
    }

    assert definition(conversion=conversion)["conversion"] == {
        "strategy": "Webhook",
        "webhook": {"clientConfig": client, "conversionReviewVersions": ["v1"]},
    }


@pytest.mark.parametrize(
    "value", [b"", b"{", b"[]", b"k8s:enc:aescbc:v1:key1:\x00\x01", b"k8s\x00\x0a\xff", b'{"metadata":3}']
)
def test_what_cannot_be_read_is_named(value: bytes) -> None:
    kind = of_kind("", "v1", "ConfigMap")
    assert kind is not None
    with pytest.raises(Unreadable, match="cannot read a stored ConfigMap"):
        Form(kind).known(value)


def test_objects_lie_where_upstream_looks_for_them() -> None:
    ours = {
        (kind.group, kind.version, kind.plural): (kind.namespaced, kind.storage)
        for kind in KINDS
        if kind.storage
    }
    upstream = {
        (row["group"], row["version"], row["resource"]): (row["namespaced"], row["prefix"]) for row in LAYOUT
    }

    assert ours == upstream
