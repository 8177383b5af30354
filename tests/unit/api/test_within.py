"""Values in messages that come from upstream's types within."""

import json
from typing import Any

import pytest

from kybern.api import kinds
from kybern.api.rules import within
from kybern.api.rules.labels import shown

CLAIM = {
    "accessModes": ["ReadWriteOnce"],
    "resources": {"requests": {"storage": "1Gi"}},
    "volumeMode": "Filesystem",
}
GROWN = """\
@@ -6,7 +6,7 @@
  "Resources": {
   "Limits": null,
   "Requests": {
-   "storage": "1Gi"
+   "storage": "2Gi"
   }
  },
  "VolumeName": "",
"""


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("UID", "uid"),
        ("APIGroup", "apiGroup"),
        ("Name", "name"),
        ("HostPID", "hostPID"),
        ("DNSPolicy", "dnsPolicy"),
    ],
)
def test_names_lose_their_leading_capitals(name: str, expected: str) -> None:
    assert within.json_name(name) == expected


@pytest.mark.parametrize(
    ("kind", "raw", "expected"),
    [
        ("RollingUpdateStatefulSetStrategy", {"partition": 1}, '{"Partition":1,"MaxUnavailable":null}'),
        (
            "VolumeAttachmentSpec",
            {"source": {}},
            '{"Attacher":"","Source":{"PersistentVolumeName":null,"InlineVolumeSpec":null},"NodeName":""}',
        ),
        (
            "SuccessPolicy",
            {"rules": [{"succeededIndexes": "0,2", "succeededCount": 1}]},
            '{"Rules":[{"SucceededIndexes":"0,2","SucceededCount":1}]}',
        ),
        ("SuccessPolicy", {"rules": []}, '{"Rules":[]}'),
        (
            "PodTemplateSpec",
            {"metadata": {"labels": {"a": "b"}, "name": "n"}},
            '{"name":"n","labels":{"a":"b"},"Spec":',
        ),
        ("ResourceFieldSelector", {"resource": "cpu"}, '{"ContainerName":"","Resource":"cpu","Divisor":"0"}'),
        (
            "RBDVolumeSource",
            {"monitors": ["m"], "image": "i"},
            '{"CephMonitors":["m"],"RBDImage":"i","FSType":"","RBDPool":"","RadosUser":"","Keyring":"",',
        ),
        ("DeviceRequest", {"name": "r"}, '{"Name":"r","Exactly":null,"FirstAvailable":null}'),
    ],
)
def test_every_field_is_shown_in_order(kind: str, raw: dict[str, Any], expected: str) -> None:
    assert json.dumps(within.shown(kind, raw), separators=(",", ":")).startswith(expected)


def test_a_difference_is_shown_with_the_lines_around_it() -> None:
    grown = {**CLAIM, "resources": {"requests": {"storage": "2Gi"}}}

    assert within.difference("PersistentVolumeClaimSpec", CLAIM, grown) == GROWN
    assert within.difference("PersistentVolumeClaimSpec", CLAIM, CLAIM) == ""


@pytest.mark.parametrize(
    ("spec", "status", "fields"),
    [
        ({"requests": {"storage": "2Gi"}}, {}, ["spec"]),
        ({"requests": {"storage": "2Gi"}}, {"phase": "Bound"}, []),
        ({"requests": {"storage": "1Mi"}}, {"phase": "Bound", "capacity": {"storage": "1Gi"}},
         ["spec.resources.requests.storage"]),
        ({"requests": {"storage": "900Mi"}}, {"phase": "Bound", "capacity": {"storage": "1Mi"}}, []),
    ],
)  # fmt: skip
def test_only_the_size_of_a_bound_claim_changes(
    spec: dict[str, Any], status: dict[str, Any], fields: list[str]
) -> None:
    kind = kinds.of_kind("", "v1", "PersistentVolumeClaim")
    assert kind is not None
    old = {"metadata": {"name": "c"}, "spec": CLAIM, "status": status}
    new = {**old, "spec": {**CLAIM, "resources": spec}}

    assert [cause.field for cause in kind.rules.validate(new, old)] == fields


def test_a_selector_is_shown_in_upstreams_order() -> None:
    raw = {
        "matchExpressions": [{"values": ["f"], "operator": "In", "key": "k"}],
        "matchLabels": {"b": "1", "a": "2"},
    }

    assert json.dumps(shown(raw)) == (
        '{"matchLabels": {"a": "2", "b": "1"}, '
        '"matchExpressions": [{"key": "k", "operator": "In", "values": ["f"]}]}'
    )


def test_what_a_pod_says_of_its_host_is_in_its_security_context() -> None:
    shown_ = within.shown("PodSpec", {"hostNetwork": True, "securityContext": {"runAsUser": 1}})

    assert shown_["SecurityContext"]["HostNetwork"] is True
    assert shown_["SecurityContext"]["RunAsUser"] == 1
    assert "HostNetwork" not in shown_


def test_every_type_that_is_named_is_there() -> None:
    for kind in within._TYPES:
        within.shown(kind, {})
        for _, _, holds in within._fields(kind):
            assert holds in within._PLAIN or holds.lstrip("*[]") in within._TYPES


def test_a_refused_change_of_a_pod_shows_what_differs() -> None:
    pod = kinds.of_kind("", "v1", "Pod")
    assert pod is not None
    old: dict[str, Any] = {
        "metadata": {"name": "p", "namespace": "n"},
        "spec": {"containers": [{"name": "c", "image": "i"}], "nodeName": "n1"},
    }
    pod.rules.default(old)
    new = {
        **old,
        "spec": {
            **old["spec"],
            "nodeName": "n2",
            "containers": [{**old["spec"]["containers"][0], "image": "j"}],
        },
    }

    (cause,) = pod.rules.validate(new, old)

    assert '\n- "NodeName": "n1",\n+ "NodeName": "n2",\n' in cause.message
    assert '"j"' not in cause.message
