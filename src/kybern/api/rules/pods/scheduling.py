"""Where a pod may run: affinity, tolerations, spreading, gates."""

from collections.abc import Iterator, Mapping
from typing import Any

from kybern.api.rules import labelkeys
from kybern.api.rules.causes import (
    all_invalid,
    duplicate,
    forbidden,
    invalid,
    not_supported,
    one_of,
    required,
)
from kybern.api.rules.formats import label, label_value, qualified_name, subdomain
from kybern.api.rules.labels import selector
from kybern.machinery.errors import Cause
from kybern.machinery.kind import Raw

EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")
_REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
_PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"
_UNSATISFIABLE = ("DoNotSchedule", "ScheduleAnyway")
_POLICIES = ("Honor", "Ignore")


def _requirement(field: str, raw: Mapping[str, Any]) -> Iterator[Cause]:
    operator, values = raw.get("operator", ""), raw.get("values") or ()
    match operator:
        case "In" | "NotIn":
            if not values:
                yield required(f"{field}.values", "must be specified when `operator` is 'In' or 'NotIn'")
        case "Exists" | "DoesNotExist":
            if values:
                text = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"
                yield forbidden(f"{field}.values", text)
        case "Gt" | "Lt":
            if len(values) != 1:
                text = "must be specified single value when `operator` is 'Lt' or 'Gt'"
                yield required(f"{field}.values", text)
        case _:
            yield invalid(f"{field}.operator", operator, "not a valid selector operator")
    key = raw.get("key", "")
    yield from all_invalid(f"{field}.key", key, qualified_name(key))


def _by_field(field: str, raw: Mapping[str, Any]) -> Iterator[Cause]:
    operator, values = raw.get("operator", ""), raw.get("values") or ()
    if operator not in ("In", "NotIn"):
        yield invalid(f"{field}.operator", operator, "not a valid selector operator")
    elif len(values) != 1:
        text = "must be only one value when `operator` is 'In' or 'NotIn' for node field selector"
        yield required(f"{field}.values", text)
    if raw.get("key") != "metadata.name":
        yield invalid(f"{field}.key", raw.get("key", ""), "not a valid field selector key")
    else:
        for i, value in enumerate(values):
            yield from all_invalid(f"{field}.values[{i}]", value, subdomain(value))


def node_term(field: str, term: Mapping[str, Any]) -> Iterator[Cause]:
    for i, expression in enumerate(term.get("matchExpressions") or ()):
        yield from _requirement(f"{field}.matchExpressions[{i}]", expression)
    for i, expression in enumerate(term.get("matchFields") or ()):
        yield from _by_field(f"{field}.matchFields[{i}]", expression)


def node_selector(field: str, raw: Mapping[str, Any]) -> Iterator[Cause]:
    terms = raw.get("nodeSelectorTerms") or ()
    if not terms:
        yield required(f"{field}.nodeSelectorTerms", "must have at least one node selector term")
    for i, term in enumerate(terms):
        yield from node_term(f"{field}.nodeSelectorTerms[{i}]", term)


def _weight(field: str, raw: Mapping[str, Any]) -> Iterator[Cause]:
    weight = raw.get("weight", 0)
    if not 1 <= weight <= 100:
        yield invalid(f"{field}.weight", weight, "must be in the range 1-100")


def _node_affinity(field: str, raw: Raw) -> Iterator[Cause]:
    if raw.get(_REQUIRED) is not None:
        yield from node_selector(f"{field}.{_REQUIRED}", raw[_REQUIRED])
    for i, term in enumerate(raw.get(_PREFERRED) or ()):
        at = f"{field}.{_PREFERRED}[{i}]"
        yield from _weight(at, term)
        yield from node_term(f"{at}.preference", term.get("preference") or {})


def _label_keys(field: str, term: Raw) -> Iterator[Cause]:
    for key in ("matchLabelKeys", "mismatchLabelKeys"):
        found = term.get(key) or ()
        if found and term.get("labelSelector") is None:
            yield forbidden(f"{field}.{key}", "must not be specified when labelSelector is not set")
        for i, name in enumerate(found):
            yield from all_invalid(f"{field}.{key}[{i}]", name, qualified_name(name))
    matched, unmatched = term.get("matchLabelKeys") or (), term.get("mismatchLabelKeys") or ()
    yield from labelkeys.told_twice(field, matched, term.get("labelSelector"))
    for i, name in enumerate(matched):
        if name in unmatched:
            text = "exists in both matchLabelKeys and mismatchLabelKeys"
            yield invalid(f"{field}.matchLabelKeys[{i}]", name, text)


def _pod_term(field: str, term: Raw) -> Iterator[Cause]:
    yield from selector(f"{field}.labelSelector", term.get("labelSelector"))
    yield from selector(f"{field}.namespaceSelector", term.get("namespaceSelector"))
    for namespace in term.get("namespaces") or ():
        yield from all_invalid(f"{field}.namespace", namespace, label(namespace))
    yield from _label_keys(field, term)
    key = term.get("topologyKey", "")
    if not key:
        yield required(f"{field}.topologyKey", "can not be empty")
    yield from all_invalid(f"{field}.topologyKey", key, qualified_name(key))


def _pod_affinity(field: str, raw: Raw) -> Iterator[Cause]:
    for i, term in enumerate(raw.get(_REQUIRED) or ()):
        yield from _pod_term(f"{field}.{_REQUIRED}[{i}]", term)
    for i, term in enumerate(raw.get(_PREFERRED) or ()):
        at = f"{field}.{_PREFERRED}[{i}]"
        yield from _weight(at, term)
        yield from _pod_term(f"{at}.podAffinityTerm", term.get("podAffinityTerm") or {})


def affinity(field: str, raw: Raw) -> Iterator[Cause]:
    if raw.get("nodeAffinity") is not None:
        yield from _node_affinity(f"{field}.nodeAffinity", raw["nodeAffinity"])
    for kind in ("podAffinity", "podAntiAffinity"):
        if raw.get(kind) is not None:
            yield from _pod_affinity(f"{field}.{kind}", raw[kind])


def _toleration(field: str, raw: Raw) -> Iterator[Cause]:
    key, operator, value = raw.get("key", ""), raw.get("operator", ""), raw.get("value", "")
    if key:
        yield from all_invalid(f"{field}.key", key, qualified_name(key))
    elif operator != "Exists":
        text = 'operator must be Exists when `key` is empty, which means "match all values and all keys"'
        yield invalid(f"{field}.operator", operator, text)
    effect = raw.get("effect", "")
    if raw.get("tolerationSeconds") is not None and effect != "NoExecute":
        yield invalid(f"{field}.effect", effect, "effect must be 'NoExecute' when `tolerationSeconds` is set")
    if operator in ("", "Equal"):
        yield from all_invalid(f"{field}.operator", value, label_value(value))
    elif operator != "Exists":
        yield not_supported(f"{field}.operator", operator, ("Equal", "Exists"))
    elif value:
        yield invalid(f"{field}.operator", value, "value must be empty when `operator` is 'Exists'")
    if effect:
        yield from one_of(f"{field}.effect", effect, EFFECTS)


def tolerations(field: str, found: list[Raw]) -> Iterator[Cause]:
    for i, raw in enumerate(found):
        yield from _toleration(f"{field}[{i}]", raw)


def spread(field: str, found: list[Raw]) -> Iterator[Cause]:
    for i, raw in enumerate(found):
        at, key, action = f"{field}[{i}]", raw.get("topologyKey", ""), raw.get("whenUnsatisfiable", "")
        if raw.get("maxSkew", 0) <= 0:
            yield invalid(f"{at}.maxSkew", raw.get("maxSkew", 0), "must be greater than zero")
        if not key:
            yield required(f"{at}.topologyKey", "can not be empty")
        else:
            yield from all_invalid(f"{at}.topologyKey", key, qualified_name(key))
        yield from one_of(f"{at}.whenUnsatisfiable", action, _UNSATISFIABLE)
        if any((key, action) == _pair(other) for other in found[i + 1 :]):
            yield duplicate(f"{at}.{{topologyKey, whenUnsatisfiable}}", f"{{{key}, {action}}}")
        yield from _spread_options(at, raw)


def _pair(raw: Raw) -> tuple[str, str]:
    return raw.get("topologyKey", ""), raw.get("whenUnsatisfiable", "")


def _spread_options(field: str, raw: Raw) -> Iterator[Cause]:
    least = raw.get("minDomains")
    if least is not None and least <= 0:
        yield invalid(f"{field}.minDomains", least, "must be greater than zero")
    if least is not None and raw.get("whenUnsatisfiable") != "DoNotSchedule":
        text = (
            f"can only use minDomains if whenUnsatisfiable=DoNotSchedule, not {raw.get('whenUnsatisfiable')}"
        )
        yield invalid(f"{field}.minDomains", least, text)
    for policy in ("nodeAffinityPolicy", "nodeTaintsPolicy"):
        if raw.get(policy) is not None:
            yield from one_of(f"{field}.{policy}", raw[policy], _POLICIES)
    keys, at = raw.get("matchLabelKeys") or (), f"{field}.matchLabelKeys"
    if keys and raw.get("labelSelector") is None:
        yield forbidden(at, "must not be specified when labelSelector is not set")
    for i, key in enumerate(keys):
        yield from all_invalid(f"{at}[{i}]", key, qualified_name(key))
    yield from labelkeys.told_twice(at, keys, raw.get("labelSelector"))
    yield from selector(f"{field}.labelSelector", raw.get("labelSelector"))


def gates(spec_field: str, spec: Raw) -> Iterator[Cause]:
    for i, gate in enumerate(spec.get("readinessGates") or ()):
        at, kind = f"{spec_field}.readinessGates[{i}].conditionType", gate.get("conditionType", "")
        yield from all_invalid(at, kind, qualified_name(kind))
    seen: set[str] = set()
    for i, gate in enumerate(spec.get("schedulingGates") or ()):
        at, name = f"{spec_field}.schedulingGates[{i}]", gate.get("name", "")
        yield from all_invalid(at, name, qualified_name(name))
        if name in seen:
            yield duplicate(at, name)
        seen.add(name)
