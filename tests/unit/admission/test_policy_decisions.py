"""What validating policies say, from an object to a denial."""

from typing import Any

import pytest

from kybern.admission.policies import changing, conditions
from kybern.admission.policies.bound import joined
from kybern.admission.policies.deciding import decided
from kybern.admission.policies.expression import (
    Evaluation,
    Expression,
    Failed,
    OutOfBudget,
    expression,
    visible,
)
from kybern.admission.policies.policy import binding_of, policy_of
from kybern.admission.seen import View
from kybern.api.rules.expressions import APPLIED, MUST_BE_TRUE, PATCH, Scope, compiled, problems
from kybern.auth.attributes import Attributes, Decision, Verdict
from kybern.machinery.cel.source import CompileError
from tests.unit.admission.writes import named, write

type Raw = dict[str, Any]


def policy(**spec: Any) -> Any:
    return policy_of({"metadata": {"name": "p"}, "spec": {"matchConstraints": {}, **spec}})


def seen(new: Raw | None = None, params: Raw | None = None, **more: Any) -> dict[str, Any]:
    request = write("UPDATE", "pods", new or named("x"), named("x"), **more)
    return visible(View(request, request.kind, request.new, request.old), params, named("x", labels={}))


def check(expression_: str, **more: Any) -> Raw:
    return {"expression": expression_, **more}


@pytest.mark.parametrize(
    ("expression_", "denied"),
    [
        ("true", False),
        ("false", True),
        ("object.metadata.name == 'x'", False),
        ("object.metadata.name == oldObject.metadata.name", False),
        ("request.operation == 'UPDATE'", False),
        ("request.resource.resource == 'pods' && request.kind.group == ''", False),
        ("request.userInfo.username == 'admin'", False),
        ("'system:masters' in request.userInfo.groups", False),
        ("request.userInfo.groups.exists(g, g == 'other')", True),
        ("has(request.subResource)", True),
        ("!request.dryRun", False),
        ("namespaceObject.metadata.name == 'x'", False),
        ("oldObject == null", True),
        ("object.metadata.name.startsWith('y')", True),
        ("size(object.metadata.name) <= 3", False),
    ],
)
def test_expressions_see_the_write(expression_: str, denied: bool) -> None:
    said = decided(policy(validations=[check(expression_)]), seen())
    assert bool(said.denials) is denied, said


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({}, "failed expression: false"),
        ({"message": " no "}, "no"),
        ({"messageExpression": "'no ' + object.metadata.name"}, "no x"),
        ({"messageExpression": "'  '", "message": "m"}, "m"),
        ({"messageExpression": "'a\\nb'", "message": "m"}, "m"),
        ({"messageExpression": "object.nothing", "message": "m"}, "m"),
        ({"messageExpression": "string(object.nothing)"}, "failed expression: false"),
    ],
)
def test_a_denial_says_the_best_that_there_is(more: Raw, message: str) -> None:
    (denial,) = decided(policy(validations=[check("false", **more)]), seen()).denials
    assert (denial.message, denial.reason) == (message, "Invalid")


@pytest.mark.parametrize("reason", ["Forbidden", "Unauthorized", "RequestEntityTooLarge"])
def test_a_denial_has_the_reason_of_its_validation(reason: str) -> None:
    (denial,) = decided(policy(validations=[check("false", reason=reason)]), seen()).denials
    assert denial.reason == reason


@pytest.mark.parametrize(("failure", "count"), [("Fail", 1), (None, 1), ("Ignore", 0)])
@pytest.mark.parametrize(
    "more",
    [
        {"validations": [check("object.nothing == 1")]},
        {"validations": [check("object.nothing ==")]},
        {"validations": [check("false")], "matchConditions": [{"name": "c", "expression": "object.no == 1"}]},
        {"validations": [check("variables.v == 1")], "variables": [{"name": "v", "expression": "object.no"}]},
    ],
)
def test_errors_deny_unless_failures_are_ignored(more: Raw, failure: str | None, count: int) -> None:
    found = policy(**more, **({"failurePolicy": failure} if failure else {}))
    assert len(decided(found, seen()).denials) == count


def test_an_error_is_told_with_its_expression() -> None:
    (denial,) = decided(policy(validations=[check("object.a.b == 1")]), seen()).denials
    assert denial.message == "expression 'object.a.b == 1' resulted in error: no such key: a"


@pytest.mark.parametrize(
    ("found", "holds"),
    [
        (["true"], True),
        (["true", "false"], False),
        (["object.nothing == 1", "false"], False),
        (["false", "object.nothing == 1"], False),
        ([], True),
    ],
)
def test_one_false_condition_decides(found: list[str], holds: bool) -> None:
    made = conditions.of([{"name": "c", "expression": one} for one in found], Scope())
    assert conditions.hold(made, seen()) is holds


def test_conditions_that_fail_are_unclear() -> None:
    texts = ["object.a == 1", "true", "object.b == 1"]
    made = conditions.of([{"name": "c", "expression": one} for one in texts], Scope())
    with pytest.raises(conditions.Unclear) as problem:
        conditions.hold(made, seen())
    assert str(problem.value).startswith("[expression 'object.a == 1' resulted in error: no such key: a, ")


def test_variables_are_computed_when_they_are_read_and_once() -> None:
    variables = [
        {"name": "unused", "expression": "object.nothing"},
        {"name": "name", "expression": "object.metadata.name"},
        {"name": "long", "expression": "variables.name + '!'"},
    ]
    found = policy(
        variables=variables, validations=[check("variables.long == 'x!' && variables.name == 'x'")]
    )
    assert decided(found, seen()).denials == ()


def test_an_error_of_a_variable_names_it() -> None:
    found = policy(
        variables=[{"name": "v", "expression": "object.nothing"}], validations=[check("variables.v == 1")]
    )
    (denial,) = decided(found, seen()).denials
    assert denial.message.endswith('composited variable "v" fails to evaluate: no such key: nothing')


def test_parameters_are_seen() -> None:
    found = policy(
        paramKind={"apiVersion": "v1", "kind": "ConfigMap"},
        validations=[check("params != null && params.data.name == object.metadata.name")],
    )
    assert decided(found, seen(params={"data": {"name": "x"}})).denials == ()
    assert len(decided(found, seen(params={"data": {"name": "y"}})).denials) == 1


def test_what_somebody_may_do_can_be_asked() -> None:
    asked: list[Attributes] = []

    def authorize(attributes: Attributes) -> Decision:
        asked.append(attributes)
        return Decision(Verdict.ALLOW if attributes.verb == "get" else Verdict.NO_OPINION)

    texts = (
        "authorizer.requestResource.check('get').allowed()",
        "!authorizer.path('/x').check('put').allowed()",
        "authorizer.serviceAccount('n', 'a').group('apps').resource('d').check('get').allowed()",
        "authorizer.group('').resource('pods').fieldSelector('spec.nodeName=n').check('get').allowed()",
        "authorizer.group('').resource('pods').fieldSelector('nonsense').check('get').allowed()",
    )
    found = policy(validations=[check(text) for text in texts])
    assert decided(found, seen(authorize=authorize)).denials == ()
    first, second, third, fourth, fifth = asked
    assert (first.verb, first.resource, first.namespace, first.name) == ("get", "pods", "x", "x")
    assert (second.verb, second.path) == ("put", "/x")
    assert (third.user.name, third.group) == ("system:serviceaccount:n:a", "apps")
    assert fourth.field_selector == (("spec.nodeName", "=", "n"),)
    assert fifth.field_selector == ()


@pytest.mark.parametrize(
    ("value", "annotations"),
    [("'a'", (("k", "a"),)), ("'  '", ()), ("null", ())],
)
def test_annotations_for_the_audit(value: str, annotations: Any) -> None:
    found = policy(auditAnnotations=[{"key": "k", "valueExpression": value}])
    assert decided(found, seen()).annotations == annotations


def test_an_annotation_that_fails_is_a_fault_of_its_own() -> None:
    found = policy(auditAnnotations=[{"key": "k", "valueExpression": "string(object.nothing)"}])
    said = decided(found, seen())
    assert (len(said.faults), said.denials) == (1, ())


def test_the_budget_ends_a_policy() -> None:
    loop = "[1,2,3,4,5,6,7,8,9,10]"
    text = f"{loop}.all(a, {loop}.all(b, {loop}.all(c, {loop}.all(d, a + b + c + d > 0))))"
    evaluation = Evaluation(seen(), budget=100)
    with pytest.raises(OutOfBudget, match="running out of cost budget"):
        evaluation.value(expression(text, Scope(), MUST_BE_TRUE))


def test_an_expression_that_does_not_compile_has_no_value() -> None:
    with pytest.raises(Failed, match="compilation error: compilation failed: ERROR"):
        Evaluation(seen()).value(expression("1 +", Scope(), MUST_BE_TRUE))


def test_policies_without_bindings_decide_nothing() -> None:
    bindings = [
        binding_of({"metadata": {"name": name}, "spec": {"policyName": "p", "validationActions": ["Deny"]}})
        for name in ("a", "b")
    ]
    (bound,) = joined([policy(), policy_of({"metadata": {"name": "q"}, "spec": {}})], bindings)
    assert (bound.policy.name, [one.name for one in bound.bindings]) == ("p", ["a", "b"])


@pytest.mark.parametrize(
    ("text", "scope", "wanted", "says"),
    [
        ("object.x", Scope(), MUST_BE_TRUE, "must evaluate to bool but got dyn"),
        ("1", Scope(), MUST_BE_TRUE, "must evaluate to bool but got int"),
        ("params.x == 1", Scope(), MUST_BE_TRUE, "undeclared reference to 'params'"),
        ("request.nothing == 1", Scope(), MUST_BE_TRUE, "undefined field 'nothing'"),
        ("variables.x == 1", Scope(), MUST_BE_TRUE, "undeclared reference to 'variables'"),
        ("authorizer.path('/x').check('get').allowed()", Scope(authorizer=False), MUST_BE_TRUE, "authorizer"),
        ("Object{}", Scope(), APPLIED, "undeclared reference to 'Object'"),
        ("[1]", Scope(patches=True), PATCH, "must evaluate to list(JSONPatch) but got list(int)"),
        ("{'a': 1}", Scope(patches=True), APPLIED, "must evaluate to Object but got map(string, int)"),
    ],
)
def test_what_an_author_is_told(text: str, scope: Scope, wanted: Any, says: str) -> None:
    (cause,) = problems("spec.x", text, scope, wanted)
    assert cause.reason == "FieldValueInvalid"
    assert says in cause.message


def test_objects_of_the_cluster_are_made_as_configurations() -> None:
    text = "Object{spec: Object.spec{replicas: 3, items: [Object.spec.items{name: 'a'}]}}"
    value, _ = compiled(text, Scope(patches=True), APPLIED).evaluate({})
    assert changing.configuration(value) == {"spec": {"replicas": 3, "items": [{"name": "a"}]}}


def test_an_object_must_bear_the_name_of_its_field() -> None:
    value, _ = compiled("Object{spec: Object.other{a: 1}}", Scope(patches=True), APPLIED).evaluate({})
    with pytest.raises(changing.Unusable, match=r'expected "Object[.]spec"'):
        changing.configuration(value)


def test_patches_are_operations() -> None:
    text = """[JSONPatch{op: 'add', path: '/metadata/labels/' + jsonpatch.escapeKey('a/b'), value: 'x'},
               JSONPatch{op: 'remove', path: '/y'}]"""
    value, _ = compiled(text, Scope(patches=True), PATCH).evaluate({})
    assert changing.operations(value) == [
        {"op": "add", "path": "/metadata/labels/a~1b", "value": "x"},
        {"op": "remove", "path": "/y"},
    ]


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("timestamp('2024-01-02T03:04:05Z')", "2024-01-02T03:04:05Z"),
        ("duration('90s')", "90s"),
        ("b'abc'", "YWJj"),
        ("{'a': dyn([dyn(1), dyn(null), dyn(true)])}", {"a": [1, None, True]}),
        ("1.5", 1.5),
    ],
)
def test_values_become_json(text: str, plain: Any) -> None:
    value, _ = compiled(text, Scope(), ()).evaluate({})
    assert changing.plain(value) == plain


def test_a_broken_expression_is_kept_with_its_error() -> None:
    made = expression("1 +", Scope(), MUST_BE_TRUE)
    assert isinstance(made, Expression)
    assert (made.program, made.error.startswith("compilation failed: ERROR")) == (None, True)
    with pytest.raises(CompileError):
        compiled("1 +", Scope(), MUST_BE_TRUE)
