"""Strategic merge, driven by the schema of real kinds."""

from copy import deepcopy
from typing import Any

import pytest

from kybern.machinery.errors import ApiError, BadRequest
from kybern.machinery.patch import strategic
from kybern.machinery.schema import Schema


def merged(
    doc: dict[str, Any], change: Any, definition: str = "io.k8s.api.core.v1.PodSpec"
) -> dict[str, Any]:
    before = deepcopy(doc)
    found = strategic.merge(doc, change, Schema.load().of(definition))
    assert doc == before
    return found


def names(spec: dict[str, Any]) -> list[str]:
    return [each["name"] for each in spec["containers"]]


TWO = {"containers": [{"name": "a", "image": "1"}, {"name": "b", "image": "2"}]}


def test_elements_are_merged_by_their_key() -> None:
    found = merged(TWO, {"containers": [{"name": "b", "image": "3"}, {"name": "c"}]})
    assert found["containers"] == [{"name": "a", "image": "1"}, {"name": "b", "image": "3"}, {"name": "c"}]


def test_an_element_is_deleted_by_directive() -> None:
    assert names(merged(TWO, {"containers": [{"name": "a", "$patch": "delete"}]})) == ["b"]


def test_a_list_is_replaced_by_directive() -> None:
    found = merged(TWO, {"containers": [{"name": "c"}, {"$patch": "replace"}]})
    assert names(found) == ["c"]


def test_an_object_is_replaced_or_emptied_by_directive() -> None:
    doc = {"nodeSelector": {"a": "1"}, "securityContext": {"runAsUser": 1}}
    found = merged(
        doc, {"nodeSelector": {"$patch": "replace", "b": "2"}, "securityContext": {"$patch": "delete"}}
    )
    assert found == {"nodeSelector": {"b": "2"}, "securityContext": {}}


def test_the_order_is_the_stated_one() -> None:
    change = {
        "$setElementOrder/containers": [{"name": "b"}, {"name": "c"}, {"name": "a"}],
        "containers": [{"name": "c"}],
    }
    assert names(merged(TWO, change)) == ["b", "c", "a"]


def test_elements_of_the_server_keep_their_place() -> None:
    doc = {"containers": [{"name": name} for name in "axb"]}
    change = {"$setElementOrder/containers": [{"name": "b"}, {"name": "a"}]}
    assert names(merged(doc, change)) == ["x", "b", "a"]


def test_scalars_are_a_set_and_can_be_deleted() -> None:
    definition = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"
    doc = {"finalizers": ["a/b", "c/d"]}
    both = merged(doc, {"finalizers": ["e/f", "a/b"]}, definition)
    assert both == {"finalizers": ["e/f", "a/b", "c/d"]}
    assert merged(doc, {"$deleteFromPrimitiveList/finalizers": ["a/b"]}, definition) == {
        "finalizers": ["c/d"]
    }
    assert set(merged(doc, {"finalizers": ["e/f"]}, definition)["finalizers"]) == {"a/b", "c/d", "e/f"}


def test_retained_keys_drop_the_others() -> None:
    doc = {"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}}}
    change = {"strategy": {"$retainKeys": ["type"], "type": "Recreate"}}
    assert merged(doc, change, "io.k8s.api.apps.v1.DeploymentSpec") == {"strategy": {"type": "Recreate"}}


def test_lists_without_a_strategy_are_replaced() -> None:
    assert merged({"tolerations": [{"key": "a"}]}, {"tolerations": [{"key": "b"}]})["tolerations"] == [
        {"key": "b"}
    ]


def test_null_removes_and_new_values_carry_no_nulls() -> None:
    found = merged({"nodeName": "n", "a": 1}, {"nodeName": None, "affinity": {"podAffinity": None}})
    assert found == {"a": 1, "affinity": {}}


def test_two_keys_make_ports_and_services_merge_by_the_first() -> None:
    doc = {"ports": [{"port": 80, "protocol": "TCP"}]}
    found = merged(doc, {"ports": [{"port": 80, "name": "x"}]}, "io.k8s.api.core.v1.ServiceSpec")
    assert found == {"ports": [{"port": 80, "protocol": "TCP", "name": "x"}]}


@pytest.mark.parametrize(
    ("change", "kind", "says"),
    [
        (
            {"containers": [{"image": "noname"}]},
            strategic.PatchError,
            "map: map[image:noname] does not contain declared merge key: name",
        ),
        ([], BadRequest, "json: cannot unmarshal array into Go value of type map[string]interface {}"),
        ({"containers": [{"name": "a", "$patch": "x"}]}, strategic.PatchError,
            "unknown patch type: x in map: map[$patch:x name:a]"),
        ({"$retainKeys": ["x"], "nodeName": "n"}, BadRequest, "invalid patch format of retainKeys"),
        ({"$setElementOrder/containers": 1}, BadRequest, "invalid patch format of setElementOrder list"),
        ({"$deleteFromPrimitiveList": ["x"]}, BadRequest, "invalid patch format of primitive list"),
    ],
)  # fmt: skip
def test_a_wrong_patch_is_refused(change: Any, kind: type[ApiError], says: str) -> None:
    with pytest.raises(kind) as caught:
        merged(TWO, change)
    assert caught.value.message == says


def test_a_patch_of_a_free_form_document_is_a_merge_patch() -> None:
    assert strategic.merge({"a": [1], "b": {"c": 1}}, {"a": [2], "b": {"d": 2}}, None) == {
        "a": [2],
        "b": {"c": 1, "d": 2},
    }
