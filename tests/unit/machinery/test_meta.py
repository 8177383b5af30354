"""ObjectMeta: what is refused, where, and in which words."""

from typing import Any

import pytest

from kybern.machinery import meta, names

GOOD: dict[str, Any] = {"name": "a", "namespace": "n"}


def lines(metadata: dict[str, Any], namespaced: bool = True) -> list[str]:
    return [cause.line() for cause in meta.validate(metadata, namespaced)]


def test_good_metadata_is_accepted() -> None:
    rich = GOOD | {
        "labels": {"app.kubernetes.io/name": "x", "e": ""},
        "annotations": {"Example.com/Upper": "anything at all"},
        "finalizers": ["example.com/f"],
        "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "r", "uid": "1"}],
    }
    assert lines(rich) == []


@pytest.mark.parametrize(
    ("change", "starts"),
    [
        ({"name": ""}, "metadata.name: Required value: name or generateName is required"),
        ({"name": "A_b"}, 'metadata.name: Invalid value: "A_b": a lowercase RFC 1123 subdomain must consist of'),
        ({"generateName": "A_b-"}, 'metadata.generateName: Invalid value: "A_b-": a lowercase RFC 1123'),
        ({"namespace": ""}, "metadata.namespace: Required value"),
        ({"generation": -1}, "metadata.generation: Invalid value: -1: must be greater than or equal to 0"),
        ({"labels": {"a/b/c": "x"}}, 'metadata.labels: Invalid value: "a/b/c": a valid label key must'),
        ({"labels": {"a": "b c"}}, 'metadata.labels: Invalid value: "b c": a valid label must be an empty'),
        ({"annotations": {"/a": ""}}, 'metadata.annotations: Invalid value: "/a": prefix part must be non-empty'),
        ({"annotations": {"a": "x" * 262144}}, "metadata.annotations: Too long: may not be more than 262144 bytes"),
        ({"ownerReferences": [{}]}, 'metadata.ownerReferences.apiVersion: Invalid value: "": version must not be empty'),
        ({"finalizers": ["orphan", "foregroundDeletion"]}, 'metadata.finalizers: Invalid value: ["orphan","fore'),
        (
            {"managedFields": [{"operation": "X"}]},
            'metadata.managedFields[0].operation: Unsupported value: "X": supported values: "Apply", "Update"',
        ),
    ],
)  # fmt: skip
def test_a_wrong_field_is_named_in_upstream_s_words(change: dict[str, Any], starts: str) -> None:
    assert lines(GOOD | change)[0].startswith(starts)


def test_a_cluster_kind_has_no_namespace() -> None:
    assert lines(GOOD, namespaced=False) == ["metadata.namespace: Forbidden: not allowed on this type"]


def test_two_controllers_are_refused() -> None:
    owner = {"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": "u", "controller": True}
    shown = '{"apiVersion":"v1","kind":"Pod","name":"p","uid":"u","controller":true}'
    [found] = lines(GOOD | {"ownerReferences": [owner, owner]})
    assert found.startswith(
        f"metadata.ownerReferences: Invalid value: [{shown},{shown}]: Only one reference can"
    )
    assert found.endswith('set to true. Found "true" in references for Pod/p and Pod/p')


def test_what_identifies_an_object_stays() -> None:
    old = GOOD | {
        "uid": "1",
        "generation": 3,
        "resourceVersion": "5",
        "deletionTimestamp": "2020-01-01T00:00:00Z",
    }
    new = {"name": "b", "namespace": "n", "uid": "2", "generation": 2, "finalizers": ["x.y/z"]}
    assert [cause.line() for cause in meta.validate_update(new, old)] == [
        (
            "metadata.finalizers: Forbidden: no new finalizers can be added if the object is being deleted, found new "
            'finalizers []string{"x.y/z"}'
        ),
        'metadata.resourceVersion: Invalid value: "": must be specified for an update',
        "metadata.generation: Invalid value: 2: must not be decremented",
        'metadata.name: Invalid value: "b": field is immutable',
        'metadata.uid: Invalid value: "2": field is immutable',
        "metadata.deletionTimestamp: Invalid value: null: field is immutable",
    ]


@pytest.mark.parametrize(
    ("check", "good", "bad"),
    [
        (names.dns1123_label, "a-1", "a.b"),
        (names.dns1123_subdomain, "a.b-c", "a..b"),
        (names.dns1035_label, "a1", "1a"),
        (names.path_segment, "system:node A", "a/b"),
        (names.config_key, "a_B.c", ".."),
        (names.relaxed_environment_name, "A B", "A=B"),
        (names.port_name, "http-2", "a--b"),
        (names.wildcard_subdomain, "*.a.b", "*a.b"),
        (names.domain_path, "a.io/b", "a.io"),
        (names.label_value, "a_b", "a_"),
    ],
)
def test_names_are_told_apart(check: meta.Check, good: str, bad: str) -> None:
    assert list(check(good)) == []
    assert list(check(bad)) != []
