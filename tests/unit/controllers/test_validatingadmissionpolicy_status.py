"""The status of validating policies: what does not fit the kinds that they match."""

from typing import Any

from kybern.api.admissionregistration_v1 import (
    MatchResources,
    NamedRuleWithOperations,
    ParamKind,
    ValidatingAdmissionPolicy,
    ValidatingAdmissionPolicySpec,
    ValidatingAdmissionPolicyStatus,
    Validation,
)
from kybern.api.meta_v1 import ObjectMeta
from kybern.controllers.validatingadmissionpolicy_status import controller
from kybern.loop.controller import Action, Call, Key
from kybern.loop.settings import Settings
from kybern.machinery.errors import NotFound
from kybern.machinery.struct import replace
from tests.unit.controllers.making import every, view

KINDS = {"pods": "Pod", "services": "Service", "configmaps": "ConfigMap"}


def _schema(kind: str) -> dict[str, Any]:
    field = {"type": "object", "properties": {f"of{kind}": {"type": "string"}}}
    return {
        "type": "object",
        "properties": {"spec": field},
        "x-kubernetes-group-version-kind": [{"group": "", "version": "v1", "kind": kind}],
    }


SERVED = {
    "/api/v1": {
        "resources": [
            {"name": plural, "singularName": kind.lower(), "kind": kind} for plural, kind in KINDS.items()
        ]
    },
    "/openapi/v3/api/v1": {"components": {"schemas": {kind: _schema(kind) for kind in KINDS.values()}}},
}


def policy(*plural: str, expression: str, **spec: Any) -> ValidatingAdmissionPolicy:
    rule = NamedRuleWithOperations(api_groups=("",), api_versions=("v1",), resources=plural)
    return ValidatingAdmissionPolicy(
        metadata=ObjectMeta(name="p", generation=3),
        spec=ValidatingAdmissionPolicySpec(
            match_constraints=MatchResources(resource_rules=(rule,)),
            validations=(Validation(expression=expression),),
            **spec,
        ),
    )


def actions(found: ValidatingAdmissionPolicy, served: dict[str, Any] = SERVED) -> list[Action]:
    made = controller(Settings())
    seen = view(made, found, live=lambda asked: served.get(asked[0], NotFound("not served")))
    state = made.observe(seen, Key("", "p"))
    return every(made.diff(state)) if state is not None else []


def checked(found: ValidatingAdmissionPolicy, served: dict[str, Any] = SERVED) -> list[dict[str, str]]:
    """The warnings that are applied to the status."""
    (action,) = actions(found, served)
    name = "validatingadmissionpolicy-status-controller"
    assert isinstance(action, Call)
    assert (action.method, action.patch) == ("PATCH", "apply")
    root = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies"
    assert action.path == f"{root}/p/status?fieldManager={name}&force=true"
    assert action.body["status"]["observedGeneration"] == 3
    return list(action.body["status"]["typeChecking"].get("expressionWarnings") or ())


def test_a_policy_that_fits_has_an_empty_result() -> None:
    assert checked(policy("pods", expression="object.spec.ofPod == 'a'")) == []


def test_what_does_not_fit_a_kind_is_told() -> None:
    found = checked(policy("services", "pod", expression="object.spec.ofPod == 'a'"))

    (warning,) = found
    assert warning["fieldRef"] == "spec.validations[0].expression"
    assert warning["warning"].startswith("/v1, Kind=Service: ERROR: <input>:1:12: undefined field 'ofPod'")
    assert "Kind=Pod" not in warning["warning"]


def test_what_is_not_served_is_passed_over() -> None:
    assert checked(policy("pods", "nodes", expression="object.none"), {}) == []


def test_a_kind_of_parameters_is_looked_up() -> None:
    kind = ParamKind(api_version="v1", kind="ConfigMap")

    fits = policy("pods", expression="params.spec.ofConfigMap == 'a'", param_kind=kind)
    fails = policy("pods", expression="params.spec.none == 'a'", param_kind=kind)

    assert checked(fits) == []
    assert "undefined field 'none'" in checked(fails)[0]["warning"]


def test_ten_kinds_of_a_rule_are_enough() -> None:
    many = {f"k{i:02}s": f"K{i:02}" for i in range(12)}
    served = {
        "/api/v1": {"resources": [{"name": plural, "kind": kind} for plural, kind in many.items()]},
        "/openapi/v3/api/v1": {"components": {"schemas": {kind: _schema(kind) for kind in many.values()}}},
    }

    (warning,) = checked(policy(*many, expression="object.none"), served)

    assert warning["warning"].count("Kind=") == 10
    assert "Kind=K10" not in warning["warning"]


def test_a_generation_is_checked_once() -> None:
    before = policy("pods", expression="object.none")
    seen = replace(before, status=ValidatingAdmissionPolicyStatus(observed_generation=3))

    assert actions(seen) == []
