"""Policies and their bindings, read and compiled once."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from kybern.admission.matching import Criteria, of_policy
from kybern.admission.policies import conditions
from kybern.admission.policies.conditions import Conditions
from kybern.admission.policies.expression import Expression, expression
from kybern.api.rules.expressions import (
    ANNOTATION,
    APPLIED,
    MESSAGE,
    MUST_BE_TRUE,
    PATCH,
    Scope,
    variable_type,
)
from kybern.api.rules.policychecks import known_variables, scope_of
from kybern.machinery.cel.types import Type
from kybern.machinery.kind import Raw

APPLY, JSON_PATCH = "ApplyConfiguration", "JSONPatch"


@dataclass(frozen=True, slots=True)
class Validation:
    expression: Expression
    message: str = ""
    says: Expression | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Annotation:
    key: str
    value: Expression


@dataclass(frozen=True, slots=True)
class Mutation:
    """``kind``: APPLY or JSON_PATCH."""

    kind: str
    expression: Expression


@dataclass(frozen=True, slots=True)
class Binding:
    name: str
    policy: str
    criteria: Criteria
    params: Raw | None = field(default=None, compare=False)
    actions: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Policy:
    """``closed``: what goes wrong refuses the write. ``params`` are (apiVersion, kind) of what parametrizes it."""

    name: str
    criteria: Criteria
    closed: bool
    params: tuple[str, str] | None
    conditions: Conditions
    variables: Mapping[str, Expression] = field(compare=False)
    validations: tuple[Validation, ...] = ()
    annotations: tuple[Annotation, ...] = ()
    mutations: tuple[Mutation, ...] = ()
    again: bool = False


def binding_of(raw: Raw) -> Binding:
    spec = raw["spec"]
    return Binding(
        raw["metadata"]["name"],
        spec["policyName"],
        of_policy(spec.get("matchResources")),
        spec.get("paramRef"),
        tuple(spec.get("validationActions") or ()),
    )


def policy_of(raw: Raw) -> Policy:
    """Of either kind: who has mutations has no validations."""
    spec = raw["spec"]
    scope = scope_of(spec, patches="mutations" in spec)
    known = known_variables(spec, scope) or {}
    kind = spec.get("paramKind")
    return Policy(
        name=raw["metadata"]["name"],
        criteria=of_policy(spec.get("matchConstraints")),
        closed=spec.get("failurePolicy") != "Ignore",
        params=(kind["apiVersion"], kind["kind"]) if kind else None,
        conditions=conditions.of(spec.get("matchConditions") or (), scope, known),
        variables=_variables(spec, scope),
        validations=tuple(_validation(one, spec, known) for one in spec.get("validations") or ()),
        annotations=tuple(
            Annotation(one["key"], expression(one["valueExpression"].strip(), scope, ANNOTATION, known))
            for one in spec.get("auditAnnotations") or ()
        ),
        mutations=tuple(_mutation(one, scope, known) for one in spec.get("mutations") or ()),
        again=spec.get("reinvocationPolicy") == "IfNeeded",
    )


def _variables(spec: Raw, scope: Scope) -> dict[str, Expression]:
    """Each may name those before it."""
    found: dict[str, Expression] = {}
    types: dict[str, Type] = {}
    for one in spec.get("variables") or ():
        made = expression(one["expression"], scope, (), dict(types))
        found[one["name"]] = made
        types[one["name"]] = variable_type(one["expression"], scope, dict(types))
    return found


def _validation(raw: Raw, spec: Raw, known: Mapping[str, Type]) -> Validation:
    says = raw.get("messageExpression") or ""
    quiet = scope_of(spec, authorizer=False)
    return Validation(
        expression(raw["expression"], scope_of(spec), MUST_BE_TRUE, known),
        (raw.get("message") or "").strip(),
        expression(says, quiet, MESSAGE, known) if says else None,
        raw.get("reason") or "",
    )


def _mutation(raw: Raw, scope: Scope, known: Mapping[str, Type]) -> Mutation:
    if raw.get("patchType") == JSON_PATCH:
        return Mutation(JSON_PATCH, expression(raw["jsonPatch"]["expression"], scope, PATCH, known))
    return Mutation(APPLY, expression(raw["applyConfiguration"]["expression"], scope, APPLIED, known))
