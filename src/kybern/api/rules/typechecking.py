"""Expressions of validating policies against the schemas of what they match: what would fail for every object of a kind.

The API server compiles them with objects of no known type, since one policy may be for many kinds. Here they are checked
once for each kind, and what does not fit becomes a warning in the policy's status; it never changes what the policy does. As
upstream, only ``validations`` are looked at (with the variables that they name), and objects take the name of their kind.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from kybern.api.admissionregistration_v1 import ExpressionWarning, ValidatingAdmissionPolicySpec, Variable
from kybern.api.rules.expressions import Scope, as_variable, environment
from kybern.machinery.cel.documents import Schema
from kybern.machinery.cel.environment import Environment
from kybern.machinery.cel.schemas import declare
from kybern.machinery.cel.source import CompileError
from kybern.machinery.cel.types import DYN, Type

MOST_KINDS = 10
"""How many kinds of one rule are checked at the most."""


@dataclass(frozen=True, slots=True, order=True)
class GVK:
    """A kind by its names, sorted as upstream sorts them and shown as Go prints them."""

    group: str
    version: str
    kind: str

    def __str__(self) -> str:
        return f"{self.group}/{self.version}, Kind={self.kind}"


@dataclass(frozen=True, slots=True)
class Described:
    """A kind, and its schema without references."""

    gvk: GVK
    schema: Schema


def resources(spec: ValidatingAdmissionPolicySpec) -> Iterator[list[tuple[str, str, str]]]:
    """Rule by rule, the (group, version, resource) that are named in full; a wildcard names nothing, nor do subresources."""
    rules = spec.match_constraints.resource_rules if spec.match_constraints is not None else ()
    for rule in rules:
        if any("*" in name for name in (*rule.api_groups, *rule.api_versions)):
            continue
        plain = sorted(name for name in rule.resources if "*" not in name and "/" not in name)
        yield [
            (group, version, name)
            for group in sorted(rule.api_groups)
            for version in sorted(rule.api_versions)
            for name in plain
        ]


def type_of(described: Described) -> Type | None:
    """The type of a kind's objects; None when its schema leaves it open."""
    found = declare(described.schema, described.gvk.kind, root=not _has_metadata(described.schema))
    return None if found is None else found.type


def _has_metadata(schema: Schema) -> bool:
    properties = schema.get("properties") or {}
    named = (properties.get("metadata") or {}).get("properties") or {}
    return {"kind", "apiVersion"} <= properties.keys() and {"name", "generateName"} <= named.keys()


def warnings(
    spec: ValidatingAdmissionPolicySpec, kinds: Sequence[Described], params: Described | None
) -> tuple[ExpressionWarning, ...]:
    """What is wrong with a policy's validations. Without a schema of its parameters, it has none to name."""
    known = type_of(params) if params is not None else None
    checked = [(kind.gvk, _environment(spec.variables, type_of(kind), known)) for kind in kinds]
    return tuple(
        ExpressionWarning(field_ref=field, warning=text)
        for field, expression in _expressions(spec)
        if (text := "\n".join(_problems(expression, checked)))
    )


def _expressions(spec: ValidatingAdmissionPolicySpec) -> Iterator[tuple[str, str]]:
    for i, validation in enumerate(spec.validations):
        yield f"spec.validations[{i}].expression", validation.expression
        if validation.message_expression:
            yield f"spec.validations[{i}].messageExpression", validation.message_expression


def _problems(expression: str, checked: Iterable[tuple[GVK, Environment]]) -> Iterator[str]:
    for gvk, known in checked:
        try:
            known.result_of(expression)
        except CompileError as problem:
            yield f"{gvk}: {problem}\n"


def _environment(variables: Iterable[Variable], item: Type | None, params: Type | None) -> Environment:
    named: dict[str, Type] = {"object": item or DYN, "oldObject": item or DYN}
    if params is not None:
        named["params"] = params
    scope = Scope(params=params is not None)
    known: dict[str, Type] = {}
    for each in variables:
        known[each.name] = _variable(environment(scope, known).extend(named), each.expression)
    return environment(scope, known).extend(named)


def _variable(known: Environment, expression: str) -> Type:
    """Any, when it is wrong: what is wrong with it is told where it is used, if at all."""
    try:
        return as_variable(known.result_of(expression))
    except CompileError:
        return DYN


def path_of(group: str, version: str) -> Mapping[str, str]:
    """Where the API server describes a group version: its resources, and its schemas."""
    root = f"apis/{group}/{version}" if group else f"api/{version}"
    return {"resources": f"/{root}", "schemas": f"/openapi/v3/{root}"}
