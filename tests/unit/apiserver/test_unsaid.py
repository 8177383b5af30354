"""What counts as said in a body, where storing it makes no difference."""

from typing import Any

import pytest

from kybern.api import kinds
from kybern.apiserver.generic import patch, update
from kybern.apiserver.negotiate import Form
from kybern.apiserver.render import Renderer
from kybern.machinery.errors import Invalid

GROUPS = {"csinodes": "storage.k8s.io", "clusterroles": "rbac.authorization.k8s.io", "limitranges": ""}


def fields(made: dict[str, Any]) -> Any:
    entries = made["metadata"].get("managedFields") or [{"fieldsV1": {}}]
    return entries[0]["fieldsV1"]


@pytest.mark.parametrize(
    ("plural", "said", "owned", "key"),
    [
        ("csinodes", {"spec": {"drivers": []}}, {"f:spec": {"f:drivers": {}}}, "spec"),
        ("csinodes", {"spec": {}}, {}, "spec"),
        ("limitranges", {"spec": {"limits": []}}, {"f:spec": {"f:limits": {}}}, "spec"),
        ("clusterroles", {"rules": []}, {"f:rules": {}}, "rules"),
        ("clusterroles", {}, {}, "rules"),
    ],
)
async def test_an_empty_list_is_managed_by_who_sends_it_and_stored_as_none(
    make: Any, plural: str, said: dict[str, Any], owned: dict[str, Any], key: str
) -> None:
    made = await make(plural, {"metadata": {"name": "x"}, **said}, GROUPS[plural])

    assert fields(made) == owned
    assert made[key] in (None, {"drivers": None}, {"limits": None})


async def test_a_daemon_set_is_read_with_the_generation_of_its_template(make: Any) -> None:
    template = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    spec = {"selector": {"matchLabels": {"a": "b"}}, "template": template}

    made = await make("daemonsets", {"metadata": {"name": "d"}, "spec": spec}, "apps")

    key = "deprecated.daemonset.template.generation"
    assert made["metadata"]["annotations"] == {key: "1"}
    assert fields(made)["f:metadata"] == {"f:annotations": {".": {}, f"f:{key}": {}}}


async def test_empty_policies_of_an_autoscaler_are_not_those_by_default(make: Any) -> None:
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "d"}
    spec = {"maxReplicas": 2, "scaleTargetRef": target, "behavior": {"scaleUp": {"policies": []}}}

    with pytest.raises(Invalid) as refused:
        await make("horizontalpodautoscalers", {"metadata": {"name": "h"}, "spec": spec}, "autoscaling")

    assert refused.value.details is not None
    assert [cause.field for cause in refused.value.details.causes] == ["spec.behavior.scaleUp.policies"]


async def test_a_table_of_daemon_sets_is_without_the_annotation_that_is_a_field_within(make: Any) -> None:
    template = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    spec = {"selector": {"matchLabels": {"a": "b"}}, "template": template}
    made = await make("daemonsets", {"metadata": {"name": "d"}, "spec": spec}, "apps")
    kind = kinds.of_kind("apps", "v1", "DaemonSet")
    assert kind is not None

    (row,) = Renderer(Form(shape="Table"), 0.0).table(kind, [made], {})["rows"]

    assert "annotations" not in row["object"]["metadata"]


@pytest.mark.parametrize(("plural", "times"), [("configmaps", 4), ("resourcequotas", 3)])
async def test_wrong_metadata_of_a_changed_object_are_told_as_often_as_upstream_asks(
    make: Any, call: Any, plural: str, times: int
) -> None:
    await make(plural, {"metadata": {"name": "x"}})
    owners = [{"apiVersion": "v1", "kind": "Event", "name": "e", "uid": "1"}]

    with pytest.raises(Invalid) as refused:
        await update.update(call(plural, "x"), {"metadata": {"name": "x", "ownerReferences": owners}})

    assert refused.value.details is not None
    assert [cause.field for cause in refused.value.details.causes] == ["metadata.ownerReferences"] * times


async def test_a_finalizer_that_is_no_name_is_refused_on_a_change(make: Any, call: Any) -> None:
    await make("configmaps", {"metadata": {"name": "x"}})

    with pytest.raises(Invalid, match=r"metadata\.finalizers"):
        await update.update(call("configmaps", "x"), {"metadata": {"name": "x", "finalizers": ["a/b/c"]}})


async def test_a_job_whose_name_is_no_label_is_refused_for_those_of_its_template(make: Any) -> None:
    template = {"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]}}

    with pytest.raises(Invalid) as refused:
        await make("jobs", {"metadata": {"name": "Bad_Name!"}, "spec": {"template": template}}, "batch")

    assert refused.value.details is not None
    fields = [cause.field for cause in refused.value.details.causes]
    assert fields == ["metadata.name", "spec.template.labels", "spec.template.labels"]


async def test_a_made_pod_selects_by_its_own_labels(make: Any) -> None:
    constraint = {
        "maxSkew": 1,
        "topologyKey": "zone",
        "whenUnsatisfiable": "DoNotSchedule",
        "labelSelector": {"matchLabels": {"a": "b"}},
        "matchLabelKeys": ["hash"],
    }
    spec = {"containers": [{"name": "c", "image": "i"}], "topologySpreadConstraints": [constraint]}

    made = await make("pods", {"metadata": {"name": "p", "labels": {"hash": "1"}}, "spec": spec})

    (stored,) = made["spec"]["topologySpreadConstraints"]
    assert stored["labelSelector"]["matchExpressions"] == [{"key": "hash", "operator": "In", "values": ["1"]}]


async def test_a_merge_that_makes_no_object_is_told_by_the_patch(make: Any, call: Any) -> None:
    template = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    spec = {"selector": {"matchLabels": {"a": "b"}}, "template": template}
    await make("deployments", {"metadata": {"name": "d"}, "spec": spec}, "apps")
    body = b'{"spec":{"template":{"spec":{"containers":"x"}}}}'

    with pytest.raises(Invalid) as refused:
        await patch.patch_(call("deployments", "d", "apps"), body, patch.STRATEGIC_PATCH)

    says = 'Invalid value: "map[spec:map[template:map[spec:map[containers:x]]]]": cannot restore slice from string'
    assert refused.value.message.endswith(says)


async def test_an_other_patch_that_makes_no_object_is_told_by_its_result(make: Any, call: Any) -> None:
    await make("configmaps", {"metadata": {"name": "x"}})

    with pytest.raises(
        Invalid, match=r'Invalid value: "\{\\"apiVersion\\":\\"v1\\",\\"data\\":\\"x\\",\\"kind\\"'
    ):
        await patch.patch_(call("configmaps", "x"), b'{"data":"x"}', patch.MERGE_PATCH)
