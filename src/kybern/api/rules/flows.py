"""Flow schemas and priority levels: who shares which part of the server."""

from collections.abc import Iterator

from kybern.api.rules.causes import (
    all_invalid,
    forbidden,
    invalid,
    not_supported,
    one_of,
    required,
)
from kybern.api.rules.formats import subdomain
from kybern.machinery.errors import Cause
from kybern.machinery.kind import Raw

_SUBJECTS = {"Group": "group", "ServiceAccount": "serviceAccount", "User": "user"}


def schema(new: Raw, _old: Raw | None) -> Iterator[Cause]:
    spec = new.get("spec") or {}
    precedence = spec.get("matchingPrecedence", 0)
    if not 1 <= precedence <= 10000:
        yield invalid("spec.matchingPrecedence", precedence, "must be a value between 1 and 10000, inclusive")
    method = spec.get("distinguisherMethod")
    if method is not None:
        yield from one_of("spec.distinguisherMethod", method.get("type"), ("ByNamespace", "ByUser"))
    level = (spec.get("priorityLevelConfiguration") or {}).get("name", "")
    if level:
        yield from all_invalid("spec.priorityLevelConfiguration.name", level, subdomain(level))
    else:
        yield required("spec.priorityLevelConfiguration.name", "must reference a priority level")
    for i, rule in enumerate(spec.get("rules") or ()):
        yield from _rule(f"spec.rules[{i}]", rule)


def _rule(field: str, raw: Raw) -> Iterator[Cause]:
    subjects = raw.get("subjects") or []
    if not subjects:
        yield required(f"{field}.subjects", "subjects must contain at least one value")
    for i, subject in enumerate(subjects):
        yield from _subject(f"{field}.subjects[{i}]", subject)
    resources, urls = raw.get("resourceRules") or [], raw.get("nonResourceRules") or []
    if not resources and not urls:
        yield required(field, "at least one of resourceRules and nonResourceRules has to be non-empty")
    for i, rule in enumerate(resources):
        yield from _resources(f"{field}.resourceRules[{i}]", rule)
    for i, rule in enumerate(urls):
        at = f"{field}.nonResourceRules[{i}]"
        yield from _verbs(f"{at}.verbs", rule)
        if not rule.get("nonResourceURLs"):
            yield required(f"{at}.nonResourceURLs", "nonResourceURLs must contain at least one value")


def _subject(field: str, raw: Raw) -> Iterator[Cause]:
    kind = raw.get("kind", "")
    if kind not in _SUBJECTS:
        yield not_supported(f"{field}.kind", kind, _SUBJECTS)
        return
    key = _SUBJECTS[kind]
    found = raw.get(key)
    if found is None:
        yield required(f"{field}.{key}", f"{key} is required when subject kind is '{kind}'")
        return
    if not found.get("name"):
        yield required(f"{field}.{key}.name")
    if kind == "ServiceAccount" and not found.get("namespace"):
        yield required(f"{field}.{key}.namespace", "must specify namespace for service account")


def _verbs(field: str, raw: Raw) -> Iterator[Cause]:
    if not raw.get("verbs"):
        yield required(field, "verbs must contain at least one value")


def _resources(field: str, raw: Raw) -> Iterator[Cause]:
    yield from _verbs(f"{field}.verbs", raw)
    if not raw.get("apiGroups"):
        yield required(f"{field}.apiGroups", "resource rules must supply at least one api group")
    if not raw.get("resources"):
        yield required(f"{field}.resources", "resource rules must supply at least one resource")
    if not raw.get("namespaces") and not raw.get("clusterScope"):
        text = "resource rules that are not cluster scoped must supply at least one namespace"
        yield required(f"{field}.namespaces", text)


def level(new: Raw, _old: Raw | None) -> Iterator[Cause]:
    spec, name = new.get("spec") or {}, (new.get("metadata") or {}).get("name", "")
    kind, limited, exempt = spec.get("type", ""), spec.get("limited"), spec.get("exempt")
    if (kind == "Exempt") != (name == "exempt") and kind in ("Exempt", "Limited"):
        yield invalid("spec.type", kind, "must be 'Exempt' if and only if `name` is 'exempt'")
    if kind == "Exempt":
        if limited is not None:
            yield forbidden("spec.limited", "must be nil if the type is not Limited")
        yield from _share("spec.exempt", exempt or {})
    elif kind == "Limited":
        if exempt is not None:
            yield forbidden("spec.exempt", "must be nil if the type is Limited")
        if limited is None:
            yield required("spec.limited", "must not be empty when type is Limited")
        else:
            yield from _limited("spec.limited", limited)
    else:
        yield not_supported("spec.type", kind, ("Exempt", "Limited"))


def _share(field: str, raw: Raw) -> Iterator[Cause]:
    shares, lent = raw.get("nominalConcurrencyShares") or 0, raw.get("lendablePercent") or 0
    if shares < 0:
        yield invalid(f"{field}.nominalConcurrencyShares", shares, "must be a non-negative integer")
    if not 0 <= lent <= 100:
        yield invalid(f"{field}.lendablePercent", lent, "must be between 0 and 100, inclusive")


def _limited(field: str, raw: Raw) -> Iterator[Cause]:
    yield from _share(field, raw)
    borrowed = raw.get("borrowingLimitPercent")
    if borrowed is not None and borrowed < 0:
        yield invalid(
            f"{field}.borrowingLimitPercent", borrowed, "if specified, must be a non-negative integer"
        )
    response = raw.get("limitResponse") or {}
    kind, queuing, at = response.get("type", ""), response.get("queuing"), f"{field}.limitResponse"
    if kind == "Reject":
        if queuing is not None:
            yield forbidden(f"{at}.queuing", "must be nil if limited.limitResponse.type is not Limited")
    elif kind == "Queue":
        if queuing is None:
            text = "must not be empty if limited.limitResponse.type is Limited"
            yield required(f"{at}.queuing", text)
        else:
            yield from _queuing(f"{at}.queuing", queuing)
    else:
        yield not_supported(f"{at}.type", kind, ("Queue", "Reject"))


def _queuing(field: str, raw: Raw) -> Iterator[Cause]:
    queues, hand, length = (raw.get(key, 0) for key in ("queues", "handSize", "queueLengthLimit"))
    if length <= 0:
        yield invalid(f"{field}.queueLengthLimit", length, "must be positive")
    if queues <= 0:
        yield invalid(f"{field}.queues", queues, "must be positive")
    elif queues > 10_000_000:
        yield invalid(f"{field}.queues", queues, "must not be greater than 10000000")
    if hand <= 0:
        yield invalid(f"{field}.handSize", hand, "must be positive")
    elif hand > queues:
        yield invalid(f"{field}.handSize", hand, f"should not be greater than queues ({queues})")
