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
        ("DeviceRequest", {"name": "r"}, '{"Name":"r","Exactly":null,"FirstAvailable":null}'),
    ],
)
def test_every_field_is_shown_in_order(kind: str, raw: dict[str, Any], expected: str) -> None:
    assert json.dumps(within.shown(kind, raw), separators=(",", ":")) == expected


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
