"""What counts as said in a body, where storing it makes no difference."""

from typing import Any

import pytest

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
