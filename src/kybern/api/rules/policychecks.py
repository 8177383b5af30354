"""Admission policies and their bindings: what must be said, and which words there are.

Expressions have to compile, and to the right type.
"""

import re
from collections.abc import Iterator

from kybern.api.rules import expressions, hookchecks
from kybern.api.rules.causes import all_invalid, duplicate, forbidden, invalid, one_of, required
from kybern.api.rules.expressions import Scope, problems
from kybern.api.rules.formats import qualified_name, subdomain
from kybern.api.rules.labels import selector
from kybern.machinery.cel.types import Type
from kybern.machinery.errors import Cause
from kybern.machinery.kind import Raw

_REASONS = ("Forbidden", "Invalid", "RequestEntityTooLarge")
_IDENTIFIER = re.compile("[_a-zA-Z][_a-zA-Z0-9]*")
_NOTHING = "validations or auditAnnotations must contain at least one item"
_ACTIONS = ("Audit", "Deny", "Warn")
_TWICE = (
    "must not contain both Deny and Warn (repeating the same validation failure information in the API response and "
    "headers serves no purpose)"
)
_MUTATED = ("*", "CONNECT", "CREATE", "UPDATE")


def _match(field: str, raw: Raw | None, operations: tuple[str, ...] | None = None) -> Iterator[Cause]:
    if raw is None:
        return
    if raw.get("matchPolicy"):
        yield from one_of(f"{field}.matchPolicy", raw["matchPolicy"], hookchecks.MATCHES)
    for key in ("namespaceSelector", "objectSelector"):
        yield from selector(f"{field}.{key}", raw.get(key))
    for key in ("resourceRules", "excludeResourceRules"):
        for i, rule in enumerate(raw.get(key) or ()):
            yield from hookchecks.rule_with_operations(f"{field}.{key}[{i}]", rule)
            for operation in rule.get("operations") or () if operations else ():
                yield from one_of(f"{field}.{key}.operations", operation, operations or ())


def _param_kind(field: str, raw: Raw | None) -> Iterator[Cause]:
    if raw is None:
        return
    version = raw.get("apiVersion", "")
    if not version:
        yield required(f"{field}.apiVersion")
    elif version.count("/") > 1:
        yield invalid(f"{field}.apiVersion", version, f"unexpected GroupVersion string: {version}")
    if not raw.get("kind"):
        yield required(f"{field}.kind")


def _variables(field: str, found: list[Raw], scope: Scope) -> Iterator[Cause]:
    names: set[str] = set()
    known: dict[str, Type] = {}
    for i, variable in enumerate(found):
        at, name = f"{field}[{i}]", variable.get("name", "")
        if not name:
            yield required(f"{at}.name", "name is not specified")
        elif not _IDENTIFIER.fullmatch(name):
            yield invalid(f"{at}.name", name, "must be a valid CEL identifier")
        if name and name in names:
            yield duplicate(f"{at}.name", name)
        names.add(name)
        text = variable.get("expression", "")
        if not text.strip():
            yield required(f"{at}.expression", "expression is not specified")
            continue
        yield from problems(f"{at}.expression", text, scope, (), known)
        known[name] = expressions.variable_type(text, scope, known)


def known_variables(spec: Raw, scope: Scope) -> dict[str, Type] | None:
    """The types of a policy's variables by their names; None when it has none."""
    variables = spec.get("variables")
    if not variables:
        return None
    found: dict[str, Type] = {}
    for variable in variables:
        text = variable.get("expression", "")
        if text.strip():
            found[variable.get("name", "")] = expressions.variable_type(text, scope, found)
    return found


def scope_of(spec: Raw, *, authorizer: bool = True, patches: bool = False) -> Scope:
    return Scope(spec.get("paramKind") is not None, authorizer, patches)


def _constraints(spec: Raw, operations: tuple[str, ...] | None = None) -> Iterator[Cause]:
    found = spec.get("matchConstraints")
    if found is None:
        yield required("spec.matchConstraints")
        return
    yield from _match("spec.matchConstraints", found, operations)
    if not found.get("resourceRules"):
        yield required("spec.matchConstraints.resourceRules")


def _common(spec: Raw, scope: Scope, operations: tuple[str, ...] | None = None) -> Iterator[Cause]:
    if spec.get("failurePolicy"):
        yield from one_of("spec.failurePolicy", spec["failurePolicy"], hookchecks.FAILURES)
    yield from _param_kind("spec.paramKind", spec.get("paramKind"))
    yield from _constraints(spec, operations)
    conditions = spec.get("matchConditions") or []
    yield from hookchecks.match_conditions("spec.matchConditions", conditions, params=scope.params)
    yield from _variables("spec.variables", spec.get("variables") or [], scope)


def validating(new: Raw, _old: Raw | None) -> Iterator[Cause]:
    spec = new.get("spec") or {}
    scope = scope_of(spec)
    variables = known_variables(spec, scope)
    yield from _common(spec, scope)
    checks, annotations = spec.get("validations") or [], spec.get("auditAnnotations") or []
    if not checks and not annotations:
        yield required("spec.validations", _NOTHING)
        yield required("spec.auditAnnotations", _NOTHING)
    for i, check in enumerate(checks):
        yield from _validation(f"spec.validations[{i}]", check, spec, variables)
    for i, annotation in enumerate(annotations):
        at, key = f"spec.auditAnnotations[{i}]", annotation.get("key", "")
        yield from all_invalid(f"{at}.key", key, qualified_name(key))
        if not annotation.get("valueExpression", "").strip():
            yield required(f"{at}.valueExpression", "valueExpression is not specified")
        text = annotation.get("valueExpression", "").strip()
        yield from problems(f"{at}.valueExpression", text, scope, expressions.ANNOTATION, variables)


def _validation(field: str, raw: Raw, spec: Raw, variables: dict[str, Type] | None) -> Iterator[Cause]:
    message = raw.get("message", "")
    scope, text = scope_of(spec), raw.get("expression", "")
    if not text.strip():
        yield required(f"{field}.expression", "expression is not specified")
    yield from problems(f"{field}.expression", text, scope, expressions.MUST_BE_TRUE, variables)
    says = raw.get("messageExpression", "")
    if says and not says.strip():
        yield invalid(f"{field}.messageExpression", says, "must be non-empty if specified")
    scope = scope_of(spec, authorizer=False)
    yield from problems(f"{field}.messageExpression", says, scope, expressions.MESSAGE, variables)
    if message and not message.strip():
        yield invalid(f"{field}.message", message, "message must be non-empty if specified")
    if "\n" in message.strip():
        yield invalid(f"{field}.message", message, "message must not contain line breaks")
    if raw.get("reason") is not None:
        yield from one_of(f"{field}.reason", raw["reason"], _REASONS)


def mutating(new: Raw, _old: Raw | None) -> Iterator[Cause]:
    spec = new.get("spec") or {}
    scope = scope_of(spec, patches=True)
    variables = known_variables(spec, scope)
    yield from _common(spec, scope, _MUTATED)
    found = spec.get("mutations") or []
    if not found:
        yield required("spec.mutations", "mutations must contain at least one item")
    for i, mutation in enumerate(found):
        at = f"spec.mutations[{i}]"
        yield from _mutation(at, mutation)
        for key, wanted in (("applyConfiguration", expressions.APPLIED), ("jsonPatch", expressions.PATCH)):
            text = (mutation.get(key) or {}).get("expression", "")
            yield from problems(f"{at}.{key}.expression", text, scope, wanted, variables)
    policy = spec.get("reinvocationPolicy", "")
    if not policy:
        yield required("spec.reinvocationPolicy")
    else:
        yield from one_of("spec.reinvocationPolicy", policy, ("IfNeeded", "Never"))


def _mutation(field: str, raw: Raw) -> Iterator[Cause]:
    kind = raw.get("patchType", "")
    keys = {"ApplyConfiguration": "applyConfiguration", "JSONPatch": "jsonPatch"}
    if not kind:
        yield required(f"{field}.patchType")
        return
    yield from one_of(f"{field}.patchType", kind, keys)
    for name, key in keys.items():
        if name == kind and raw.get(key) is None:
            yield required(f"{field}.{key}", f"must be specified when patchType is {kind}")
        elif name == kind and not raw[key].get("expression", "").strip():
            yield required(f"{field}.{key}.expression")
        elif name != kind and kind in keys and raw.get(key) is not None:
            yield invalid(f"{field}.{key}", raw[key], f"must not be specified when patchType is {kind}")


def _binding(spec: Raw) -> Iterator[Cause]:
    name = spec.get("policyName", "")
    if not name:
        yield required("spec.policyName")
    else:
        yield from all_invalid("spec.policyName", name, subdomain(name))
    if spec.get("paramRef") is not None:
        yield from _param_ref("spec.paramRef", spec["paramRef"])
    yield from _match("spec.matchResources", spec.get("matchResources"))


def _param_ref(field: str, raw: Raw) -> Iterator[Cause]:
    name, chosen = raw.get("name", ""), raw.get("selector")
    if name:
        yield from all_invalid(f"{field}.name", name, subdomain(name))
        if chosen is not None:
            yield forbidden(f"{field}.name", "name and selector are mutually exclusive")
    if chosen is not None:
        yield from selector(f"{field}.selector", chosen)
        if name:
            yield forbidden(f"{field}.selector", "name and selector are mutually exclusive")
    if not name and chosen is None:
        yield required(field, "one of name or selector must be specified")
    action = raw.get("parameterNotFoundAction")
    if not action:
        yield required(f"{field}.parameterNotFoundAction")
    else:
        yield from one_of(f"{field}.parameterNotFoundAction", action, ("Allow", "Deny"))


def mutating_binding(new: Raw, _old: Raw | None) -> Iterator[Cause]:
    return _binding(new.get("spec") or {})


def validating_binding(new: Raw, _old: Raw | None) -> Iterator[Cause]:
    spec = new.get("spec") or {}
    yield from _binding(spec)
    actions, at = spec.get("validationActions") or [], "spec.validationActions"
    if not actions:
        yield required(at, "at least one validation action is required")
    for i, action in enumerate(actions):
        yield from one_of(f"{at}[{i}]", action, _ACTIONS)
        if action in actions[:i]:
            yield duplicate(f"{at}[{i}]", action)
    if "Deny" in actions and "Warn" in actions:
        yield invalid(at, actions, _TWICE)
