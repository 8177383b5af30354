"""Which writes a webhook or a policy is for: rules of operations and resources, and selectors.

Pure. A write is known here by what it says of itself (``Facts``) and by the kinds as which its object is served: with
``matchPolicy: Equivalent`` a rule for one of them is a rule for all, and the write is shown as the kind of the rule.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from kybern.machinery.kind import Kind, Raw
from kybern.machinery.selectors import LabelSelector, of_selector

CONFIGURATION_GROUP = "admissionregistration.k8s.io"
_EXEMPT = frozenset({
    "mutatingadmissionpolicies", "mutatingadmissionpolicybindings", "mutatingwebhookconfigurations",
    "validatingadmissionpolicies", "validatingadmissionpolicybindings", "validatingwebhookconfigurations",
})  # fmt: skip
_ANY = "*"


@dataclass(frozen=True, slots=True)
class Facts:
    """A write. ``namespace`` is a Namespace's own name when it is what is written; ``name`` may be empty."""

    operation: str
    subresource: str = ""
    namespace: str = ""
    name: str = ""


@dataclass(frozen=True, slots=True)
class Rule:
    """Resources are (plural, subresource); ``names`` is empty for all."""

    operations: frozenset[str]
    groups: frozenset[str]
    versions: frozenset[str]
    resources: frozenset[tuple[str, str]]
    scope: str = _ANY
    names: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Criteria:
    """Everything that says which writes are meant. ``anything``: no rules at all stand for every write (policies)."""

    rules: tuple[Rule, ...]
    excluded: tuple[Rule, ...] = ()
    exact: bool = False
    anything: bool = False
    namespaces: LabelSelector | None = None
    objects: LabelSelector | None = None


def is_exempt(kind: Kind) -> bool:
    """What says who is asked is never put before them: nobody may lock the cluster."""
    return kind.group == CONFIGURATION_GROUP and kind.plural in _EXEMPT


def rule_of(raw: Raw) -> Rule:
    return Rule(
        frozenset(raw.get("operations") or ()),
        frozenset(raw.get("apiGroups") or ()),
        frozenset(raw.get("apiVersions") or ()),
        frozenset(_resource(one) for one in raw.get("resources") or ()),
        raw.get("scope") or _ANY,
        frozenset(raw.get("resourceNames") or ()),
    )


def _resource(text: str) -> tuple[str, str]:
    plural, _, subresource = text.partition("/")
    return plural, subresource


def selector_of(raw: Raw | None) -> LabelSelector | None:
    """None for one that selects everything. Raises ApiError for one that is none."""
    return of_selector(raw) if raw and (raw.get("matchLabels") or raw.get("matchExpressions")) else None


def of_webhook(raw: Raw) -> Criteria:
    return Criteria(
        tuple(rule_of(rule) for rule in raw.get("rules") or ()),
        exact=raw.get("matchPolicy") == "Exact",
        namespaces=selector_of(raw.get("namespaceSelector")),
        objects=selector_of(raw.get("objectSelector")),
    )


def of_policy(raw: Raw | None) -> Criteria:
    """Of a policy's matchConstraints, or of a binding's matchResources."""
    found = raw or {}
    return Criteria(
        tuple(rule_of(rule) for rule in found.get("resourceRules") or ()),
        tuple(rule_of(rule) for rule in found.get("excludeResourceRules") or ()),
        exact=found.get("matchPolicy") == "Exact",
        anything=True,
        namespaces=selector_of(found.get("namespaceSelector")),
        objects=selector_of(found.get("objectSelector")),
    )


def of_rule(rule: Rule, facts: Facts, kind: Kind) -> bool:
    """Whether a rule names a write, seen as one of a kind."""
    return (
        _is_in(rule.operations, facts.operation)
        and _is_in(rule.groups, kind.group)
        and _is_in(rule.versions, kind.version)
        and _names(rule.resources, kind.plural, facts.subresource)
        and _has_scope(rule.scope, facts, kind)
        and (not rule.names or facts.name in rule.names)
    )


def _is_in(items: frozenset[str], wanted: str) -> bool:
    return wanted in items or _ANY in items


def _names(resources: frozenset[tuple[str, str]], plural: str, subresource: str) -> bool:
    return any(
        choice in resources
        for choice in ((plural, subresource), (plural, _ANY), (_ANY, subresource), (_ANY, _ANY))
    )


def _has_scope(scope: str, facts: Facts, kind: Kind) -> bool:
    if scope == _ANY:
        return True
    is_cluster = not facts.namespace or (kind.group, kind.plural) == ("", "namespaces")
    return scope == ("Cluster" if is_cluster else "Namespaced")


def shown_as(
    criteria: Criteria, facts: Facts, kind: Kind, equivalents: Callable[[], Sequence[Kind]]
) -> Kind | None:
    """The kind as which a write is shown, by rules alone; None when it is not meant. Equivalents are asked when needed."""
    exact = criteria.exact
    if criteria.excluded and _first(criteria.excluded, facts, kind, equivalents, exact=exact) is not None:
        return None
    if not criteria.rules:
        return kind if criteria.anything else None
    return _first(criteria.rules, facts, kind, equivalents, exact=exact)


def _first(
    rules: Iterable[Rule], facts: Facts, kind: Kind, equivalents: Callable[[], Sequence[Kind]], *, exact: bool
) -> Kind | None:
    if any(of_rule(rule, facts, kind) for rule in rules):
        return kind
    if exact:
        return None
    others = equivalents()
    return next((other for rule in rules for other in others if of_rule(rule, facts, other)), None)


def objects_selected(selector: LabelSelector | None, new: Raw | None, old: Raw | None) -> bool:
    """Whether the object is selected as it was or as it shall be; what has no labels is selected only by none."""
    if selector is None:
        return True
    return any(one is not None and "metadata" in one and selector.matches(labels(one)) for one in (new, old))


def labels(raw: Raw) -> dict[str, str]:
    found: dict[str, str] = (raw.get("metadata") or {}).get("labels") or {}
    return found
