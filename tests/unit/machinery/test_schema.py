"""Bodies are made to fit their kind as Go makes them fit."""

from copy import deepcopy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kybern.machinery.errors import BadRequest
from kybern.machinery.schema import Schema

POD = "io.k8s.api.core.v1.Pod"


def decoded(body: dict[str, Any], definition: str = POD) -> tuple[dict[str, Any], list[str]]:
    value = deepcopy(body)
    unknown = Schema.load().of(definition).decode(value, strict=True)
    return value, unknown


def spec(**fields: Any) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": fields}


def test_what_go_always_answers_is_there() -> None:
    found, _ = decoded(spec(containers=[{"name": "c"}]))
    assert found["status"] == {}
    assert found["spec"]["containers"] == [{"name": "c", "resources": {}}]
    role, _ = decoded({"kind": "ClusterRole"}, "io.k8s.api.rbac.v1.ClusterRole")
    assert role == {"kind": "ClusterRole", "metadata": {}, "rules": None}


def test_empty_values_stay_only_where_go_keeps_them() -> None:
    found, _ = decoded(
        spec(containers=[], volumes=[], hostNetwork=False, terminationGracePeriodSeconds=0, nodeName="")
    )
    assert found["spec"] == {"containers": [], "terminationGracePeriodSeconds": 0}


def test_nulls_are_dropped_or_become_what_go_answers() -> None:
    found, _ = decoded(
        spec(containers=[{"name": "c", "resources": None, "command": None}], tolerations=[None])
    )
    assert found["spec"] == {"containers": [{"name": "c", "resources": {}}], "tolerations": [{}]}


def test_a_null_in_a_map_is_the_empty_value_of_its_type() -> None:
    found, _ = decoded(
        {"kind": "ConfigMap", "data": {"a": None}, "binaryData": {"b": None}}, f"{POD[:-3]}ConfigMap"
    )
    assert (found["data"], found["binaryData"]) == ({"a": ""}, {"b": ""})


def test_values_are_normalised() -> None:
    limits = {"cpu": 0.5, "memory": "1024Mi", "x/y": 3}
    found, _ = decoded(spec(containers=[{"name": "c", "resources": {"limits": limits}}]))
    assert found["spec"]["containers"][0]["resources"]["limits"] == {
        "cpu": "500m",
        "memory": "1Gi",
        "x/y": "3",
    }


def test_unknown_fields_are_removed_and_named() -> None:
    body = spec(containers=[{"name": "c"}, {"name": "d", "nope": 1}], affinity={"nodeAffinity": {"x": 1}}) | {
        "top": 1
    }
    found, unknown = decoded(body)
    assert unknown == [
        'unknown field "spec.containers[1].nope"',
        'unknown field "spec.affinity.nodeAffinity.x"',
        'unknown field "top"',
    ]
    assert "top" not in found
    assert "nope" not in found["spec"]["containers"][1]


def test_free_form_values_are_kept_as_they_are() -> None:
    body = {"kind": "ControllerRevision", "data": {"a": None, "b": {"c": []}}, "revision": 1}
    found, unknown = decoded(body, "io.k8s.api.apps.v1.ControllerRevision")
    assert found == body | {"metadata": {}}
    assert unknown == []


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"hostNetwork": "x"}, "string into Go struct field PodSpec.spec.hostNetwork of type bool"),
        ({"containers": "x"}, "string into Go struct field PodSpec.spec.containers of type []v1.Container"),
        ({"containers": ["x"]}, "string into Go struct field PodSpec.spec.containers of type v1.Container"),
        (
            {"restartPolicy": 5},
            "number into Go struct field PodSpec.spec.restartPolicy of type v1.RestartPolicy",
        ),
        ({"priority": 1.5}, "number 1.5 into Go struct field PodSpec.spec.priority of type int32"),
        (
            {"priority": 3000000000},
            "number 3000000000 into Go struct field PodSpec.spec.priority of type int32",
        ),
        ({"nodeSelector": {"a": True}}, "bool into Go struct field PodSpec.spec.nodeSelector of type string"),
        (
            {"containers": [{"livenessProbe": {"httpGet": {"port": {}}}}]},
            "object into Go struct field HTTPGetAction.spec.containers.livenessProbe.httpGet.port of type int32",
        ),
    ],
)
def test_a_wrong_type_is_told_in_go_s_words(fields: dict[str, Any], says: str) -> None:
    with pytest.raises(BadRequest) as caught:
        decoded(spec(**fields))
    assert caught.value.message == (
        f'Pod in version "v1" cannot be handled as a Pod: json: cannot unmarshal {says}'
    )


def test_the_first_wrong_type_is_told_but_a_bad_quantity_wins() -> None:
    bad = {"name": "c", "resources": {"limits": {"cpu": "x"}}}
    with pytest.raises(BadRequest, match=r"hostPID of type bool"):
        decoded(spec(hostPID=1, hostIPC=1))
    with pytest.raises(BadRequest, match="quantities must match"):
        decoded(spec(hostPID=1, containers=[bad]))


@pytest.mark.parametrize(
    ("text", "at"),
    [("!", 0), ("x", 0), ("YQ=", 3), ("YWI", 0), ("YWJjYQ", 4), ("YQ==x", 4), ("a===", 1), ("YQ=x", 2)],
)
def test_bad_base64_is_refused_at_its_place(text: str, at: int) -> None:
    with pytest.raises(BadRequest) as caught:
        decoded({"kind": "Secret", "apiVersion": "v1", "data": {"a": text}}, "io.k8s.api.core.v1.Secret")
    assert caught.value.message.endswith(f"illegal base64 data at input byte {at}")


def test_a_schema_or_a_boolean_may_stand_in_a_custom_resource_s_schema() -> None:
    definition = "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaProps"
    body = {
        "type": "object",
        "additionalProperties": True,
        "properties": {"a": {"items": {"type": "string", "default": ""}, "type": "array"}},
        "$schema": "x",
    }
    assert decoded(body, definition) == (body, [])
    with pytest.raises(BadRequest, match="boolean or JSON schema expected"):
        decoded({"additionalProperties": 1}, definition)


def test_endless_nesting_is_refused() -> None:
    definition = "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaProps"
    body: dict[str, Any] = {}
    for _ in range(5000):
        body = {"not": body}
    with pytest.raises(BadRequest, match="exceeded max depth"):
        Schema.load().of(definition).decode(body)


fields = st.fixed_dictionaries(
    {},
    optional={
        "containers": st.lists(
            st.fixed_dictionaries({"name": st.text("ab", max_size=2)}, optional={"tty": st.booleans()}), max_size=2
        ),
        "priority": st.integers(-5, 5) | st.none(),
        "nodeSelector": st.dictionaries(st.text("ab", max_size=1), st.text("xy", max_size=1), max_size=2),
        "bogus": st.integers(),
        "tolerations": st.lists(st.fixed_dictionaries({"key": st.text("k", max_size=1)}) | st.none(), max_size=2),
    },
)  # fmt: skip


@given(fields)
def test_decoding_twice_changes_nothing_more(given_fields: dict[str, Any]) -> None:
    once, _ = decoded(spec(**given_fields))
    assert decoded(once) == (once, [])


def test_every_definition_compiles() -> None:
    schema = Schema.load()
    for name in schema.definitions:
        walker, make = schema.compiler.struct(name)
        assert callable(walker)
        made = make()
        assert schema.of(name).decode(made) == []
