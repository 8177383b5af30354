"""Rules of single kinds that records do not show: conversions, changes, schedules and texts of tables."""

import copy
from typing import Any

import pytest

from kybern.api import kinds
from kybern.api.apps_v1 import deployment
from kybern.api.events_v1 import event
from kybern.api.rules import hpaconversion, images, indexes, labels, tables
from kybern.machinery.kind import Kind, Raw

CREATED = "2020-01-01T00:00:00Z"
NOW = 1577836800.0 + 3600


def kind(group: str, name: str, version: str = "v1") -> Kind:
    found = kinds.of_kind(group, version, name)
    assert found is not None
    return found


def cells(of: Kind, raw: Raw) -> list[Any]:
    assert of.table is not None
    return of.table.cells({"metadata": {"name": "x", "creationTimestamp": CREATED}, **raw}, NOW)


def test_an_event_is_the_same_in_both_of_its_forms() -> None:
    newer = {
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": {"name": "e"},
        "regarding": {"kind": "Pod", "name": "p"},
        "note": "n",
        "reportingController": "c",
        "deprecatedCount": 3,
        "reason": "R",
    }
    conversion = event.KIND.conversion
    assert conversion is not None

    stored = conversion.to_stored(newer)

    assert stored["involvedObject"] == {"kind": "Pod", "name": "p"}
    assert (stored["message"], stored["reportingComponent"], stored["count"]) == ("n", "c", 3)
    assert conversion.from_stored(stored) == newer


def test_an_autoscaler_loses_nothing_by_the_older_version() -> None:
    newer = {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "h", "annotations": {"a": "b"}},
        "spec": {
            "maxReplicas": 3,
            "metrics": [
                {"type": "Pods", "pods": {"metric": {"name": "m"}}},
                {
                    "type": "Resource",
                    "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 70}},
                },
            ],
            "behavior": {"scaleUp": {"selectPolicy": "Max"}},
        },
        "status": {"currentReplicas": 1, "desiredReplicas": 2, "currentMetrics": None},
    }

    older = hpaconversion.to_v1(copy.deepcopy(newer))

    assert older["spec"] == {"maxReplicas": 3, "targetCPUUtilizationPercentage": 70}
    assert hpaconversion.to_v2(older) == newer


def test_annotations_count_in_the_generation_of_a_deployment_alone() -> None:
    old = {"metadata": {"annotations": {}}, "spec": {"replicas": 1}, "status": {}}
    noted = {**old, "metadata": {"annotations": {"why": "because"}}}
    seen = {**old, "status": {"replicas": 1}}
    replica_set, priority = kind("apps", "ReplicaSet"), kind("scheduling.k8s.io", "PriorityClass")
    assert deployment.KIND.generation is not None
    assert replica_set.generation is not None
    assert priority.generation is not None

    assert deployment.KIND.generation(noted, old)
    assert not deployment.KIND.generation(seen, old)
    assert not replica_set.generation(noted, old)
    assert not priority.generation({**old, "value": 2}, old)


def test_a_secret_takes_plain_text_and_keeps_bytes() -> None:
    raw: Raw = {"metadata": {"name": "s"}, "data": {"a": "eA==", "b": "eQ=="}, "stringData": {"b": "z"}}

    kind("", "Secret").rules.default(raw)

    assert raw["data"] == {"a": "eA==", "b": "eg=="}
    assert "stringData" not in raw


@pytest.mark.parametrize("frozen", ["ConfigMap", "Secret"])
def test_what_is_immutable_stays_as_it_is(frozen: str) -> None:
    old = {"metadata": {"name": "x"}, "immutable": True, "data": {"a": "eA=="}, "type": "Opaque"}
    changed, freed = {**old, "data": {"a": "eQ=="}}, {key: old[key] for key in old if key != "immutable"}
    rules = kind("", frozen).rules

    assert [cause.field for cause in rules.validate(changed, old)] == ["data"]
    assert [cause.field for cause in rules.validate(freed, old)] == ["immutable"]
    assert list(rules.validate(dict(old), old)) == []


@pytest.mark.parametrize(
    ("group", "name", "path", "value", "field"),
    [
        ("apps", "StatefulSet", ("serviceName",), "other", "spec"),
        ("batch", "Job", ("completionMode",), "Indexed", "spec.completionMode"),
        ("storage.k8s.io", "VolumeAttachment", ("nodeName",), "other", "spec"),
        ("node.k8s.io", "RuntimeClass", (), "other", "handler"),
        ("", "Node", ("providerID",), "y://z", "spec.providerID"),
    ],
)
def test_some_fields_never_change(
    group: str, name: str, path: tuple[str, ...], value: str, field: str
) -> None:
    of = kind(group, name)
    old: Raw = {
        "metadata": {"name": "x", "uid": "u"},
        "spec": {"providerID": "x://y", "attacher": "a.b", "nodeName": "n"},
        "handler": "runc",
    }
    of.rules.default(old)
    new = copy.deepcopy(old)
    if path:
        new["spec"][path[0]] = value
    else:
        new[field] = value

    before = {
        cause.field for cause in of.rules.validate(copy.deepcopy(old), old) if "immutable" in cause.message
    }
    after = {
        cause.field
        for cause in of.rules.validate(new, old)
        if "immutable" in cause.message or "forbidden" in cause.message or "may not change" in cause.message
    }

    assert field not in before
    assert field in after


@pytest.mark.parametrize(
    ("image", "policy"),
    [
        ("busybox", "Always"),
        ("busybox:latest", "Always"),
        ("busybox:1", "IfNotPresent"),
        ("host:5000/busybox", "Always"),
        ("host:5000/a/busybox:1", "IfNotPresent"),
        ("busybox@sha256:" + "0" * 64, "IfNotPresent"),
        ("Not An Image", "IfNotPresent"),
    ],
)
def test_an_image_that_may_change_is_pulled_again(image: str, policy: str) -> None:
    assert images.pull_policy(image) == policy


def test_indexes_are_counted_and_must_grow() -> None:
    assert indexes.count_of("0,2-4", 5) == 4
    for wrong in ("3,1", "0-9", "2-2", "a"):
        with pytest.raises(ValueError, match=r"index|order"):
            indexes.count_of(wrong, 5)


@pytest.mark.parametrize(
    ("expression", "selected"),
    [
        ({"key": "a", "operator": "In", "values": ["x", "y"]}, True),
        ({"key": "a", "operator": "NotIn", "values": ["x"]}, False),
        ({"key": "b", "operator": "NotIn", "values": ["x"]}, True),
        ({"key": "a", "operator": "Exists"}, True),
        ({"key": "b", "operator": "DoesNotExist"}, True),
        ({"key": "b", "operator": "Exists"}, False),
    ],
)
def test_expressions_select_by_one_label(expression: Raw, selected: bool) -> None:
    assert labels.matches({"matchExpressions": [expression]}, {"a": "x"}) is selected


def test_selectors_print_as_kubectl_takes_them() -> None:
    raw = {
        "matchLabels": {"b": "1"},
        "matchExpressions": [
            {"key": "a", "operator": "In", "values": ["y", "x"]},
            {"key": "c", "operator": "DoesNotExist"},
        ],
    }

    assert tables.selector(raw) == "a in (x,y),b=1,!c"
    assert tables.selector({}) == "<none>"
    assert tables.selector({"matchExpressions": [{"key": "a", "operator": "Near"}]}) == "<error>"


@pytest.mark.parametrize(
    ("group", "name", "raw", "expected"),
    [
        (
            "",
            "Service",
            {
                "spec": {
                    "type": "LoadBalancer",
                    "clusterIPs": ["10.0.0.1"],
                    "ports": [{"port": 80, "nodePort": 30080, "protocol": "TCP"}],
                }
            },
            ["x", "LoadBalancer", "10.0.0.1", "<pending>", "80:30080/TCP", "60m", "<none>"],
        ),
        (
            "",
            "Node",
            {
                "metadata": {
                    "name": "x",
                    "creationTimestamp": CREATED,
                    "labels": {"node-role.kubernetes.io/control-plane": ""},
                },
                "spec": {"unschedulable": True},
                "status": {
                    "conditions": [{"type": "Ready", "status": "Unknown"}],
                    "nodeInfo": {"kubeletVersion": "v1.36.0", "kernelVersion": "6", "architecture": "amd64"},
                    "addresses": [{"type": "InternalIP", "address": "192.0.2.1"}],
                },
            },
            [
                "x", "NotReady,SchedulingDisabled", "control-plane", "60m", "v1.36.0", "192.0.2.1", "<none>",
                "<unknown>", "6 (amd64)", "<unknown>",
            ],
        ),
        (
            "apps",
            "Deployment",
            {
                "spec": {
                    "replicas": 3,
                    "selector": {"matchLabels": {"a": "b"}},
                    "template": {"spec": {"containers": [{"name": "c", "image": "i"}]}},
                },
                "status": {"readyReplicas": 1, "updatedReplicas": 2, "availableReplicas": 1},
            },
            ["x", "1/3", 2, 1, "60m", "c", "i", "a=b"],
        ),
        (
            "batch",
            "Job",
            {
                "spec": {"completions": 1, "selector": {}, "template": {}},
                "status": {
                    "succeeded": 1,
                    "startTime": CREATED,
                    "completionTime": "2020-01-01T00:00:05Z",
                    "conditions": [{"type": "Complete", "status": "True"}],
                },
            },
            ["x", "Complete", "1/1", "5s", "60m", "", "", "<none>"],
        ),
        (
            "",
            "Endpoints",
            {
                "subsets": [
                    {
                        "addresses": [{"ip": f"10.0.0.{i}"} for i in range(1, 6)],
                        "ports": [{"port": 80}],
                    }
                ]
            },
            ["x", "10.0.0.1:80,10.0.0.2:80,10.0.0.3:80 + 2 more...", "60m"],
        ),
        (
            "rbac.authorization.k8s.io",
            "RoleBinding",
            {
                "roleRef": {"kind": "Role", "name": "r"},
                "subjects": [
                    {"kind": "User", "name": "u"},
                    {"kind": "ServiceAccount", "name": "s", "namespace": "n"},
                ],
            },
            ["x", "Role/r", "60m", "u", "", "n/s"],
        ),
    ],
)  # fmt: skip
def test_a_row_says_what_kubectl_shows(group: str, name: str, raw: Raw, expected: list[Any]) -> None:
    assert cells(kind(group, name), raw) == expected


def test_deprecated_things_are_taken_with_a_warning() -> None:
    raw = {
        "metadata": {"name": "a.b"},
        "spec": {
            "template": {
                "spec": {
                    "nodeSelector": {"beta.kubernetes.io/os": "linux"},
                    "volumes": [{"name": "v", "gitRepo": {"repository": "r"}}],
                    "containers": [{"name": "c", "env": [{"name": "A"}, {"name": "A"}]}],
                }
            }
        },
    }
    rules = deployment.KIND.rules

    assert [text.split(":")[0] for text in rules.warnings(raw, None)] == [
        "metadata.name",
        "spec.template.spec.nodeSelector[beta.kubernetes.io/os]",
        "spec.template.spec.volumes[0].gitRepo",
        "spec.template.spec.containers[0].env[1]",
    ]
    assert list(rules.warnings(raw, raw)) == []
