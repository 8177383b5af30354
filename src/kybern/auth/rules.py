"""What one policy rule allows, and whether some rules cover others.

The words of a rule are RBAC's: verbs, API groups and resources may be ``*``; a resource may be ``pods/log`` or ``*/scale``;
a rule with resource names speaks only of requests that carry one of them; a non-resource URL may end in ``*``.
``uncovered`` is the law behind escalation checks: a rule is held when every single (group, resource, verb, name) of it is
allowed by one of the owner's rules.
"""

from collections.abc import Iterable, Iterator

from kybern.api.rbac_v1 import PolicyRule
from kybern.auth.attributes import Attributes

ANY = "*"
FULL_AUTHORITY = (
    PolicyRule(verbs=(ANY,), api_groups=(ANY,), resources=(ANY,)),
    PolicyRule(verbs=(ANY,), non_resource_urls=(ANY,)),
)


def allows(rule: PolicyRule, asked: Attributes) -> bool:
    """Whether a rule allows a request, its name included."""
    if not asked.is_resource:
        return _has(rule.verbs, asked.verb) and any(
            _url(owned, asked.path) for owned in rule.non_resource_urls
        )
    return concerns(rule, asked) and (not rule.resource_names or asked.name in rule.resource_names)


def concerns(rule: PolicyRule, asked: Attributes) -> bool:
    """Whether a rule speaks of the verb, group and resource of a request, whatever its name."""
    return (
        _has(rule.verbs, asked.verb)
        and _has(rule.api_groups, asked.group)
        and _resource(rule.resources, asked.resource, asked.subresource)
    )


def _has(words: tuple[str, ...], word: str) -> bool:
    return word in words or ANY in words


def _resource(owned: tuple[str, ...], resource: str, subresource: str) -> bool:
    if ANY in owned:
        return True
    if not subresource:
        return resource in owned
    return f"{resource}/{subresource}" in owned or f"*/{subresource}" in owned


def _url(owned: str, path: str) -> bool:
    return owned in (ANY, path) or (owned.endswith(ANY) and path.startswith(owned.rstrip(ANY)))


def uncovered(owned: Iterable[PolicyRule], wanted: Iterable[PolicyRule]) -> list[PolicyRule]:
    """The single grants among ``wanted`` that no rule of ``owned`` gives."""
    held = tuple(owned)
    return [
        single
        for rule in wanted
        for single in _singles(rule)
        if not any(_covers(own, single) for own in held)
    ]


def _singles(rule: PolicyRule) -> Iterator[PolicyRule]:
    """A rule as rules of one verb, group, resource and name each."""
    names: tuple[tuple[str, ...], ...] = tuple((name,) for name in rule.resource_names) or ((),)
    for group in rule.api_groups:
        for resource in rule.resources:
            for verb in rule.verbs:
                for name in names:
                    yield PolicyRule(
                        api_groups=(group,), resources=(resource,), verbs=(verb,), resource_names=name
                    )
    for url in rule.non_resource_urls:
        for verb in rule.verbs:
            yield PolicyRule(non_resource_urls=(url,), verbs=(verb,))


def _covers(own: PolicyRule, single: PolicyRule) -> bool:
    if not _has(own.verbs, single.verbs[0]):
        return False
    if single.non_resource_urls:
        return any(_url(url, single.non_resource_urls[0]) for url in own.non_resource_urls)
    resource, _, subresource = single.resources[0].partition("/")
    return (
        _has(own.api_groups, single.api_groups[0])
        and _resource(own.resources, resource, subresource)
        and (
            not own.resource_names
            or (bool(single.resource_names) and single.resource_names[0] in own.resource_names)
        )
    )


def compact(rules: Iterable[PolicyRule]) -> list[PolicyRule]:
    """Rules of one group, one resource and at most one name, joined where only their verbs differ."""
    kept: list[PolicyRule] = []
    joined: dict[tuple[tuple[str, ...], ...], list[str]] = {}
    for rule in rules:
        if (
            rule.non_resource_urls
            or (len(rule.api_groups), len(rule.resources)) != (1, 1)
            or len(rule.resource_names) > 1
        ):
            kept.append(rule)
            continue
        joined.setdefault((rule.api_groups, rule.resources, rule.resource_names), []).extend(rule.verbs)
    simple = (
        PolicyRule(api_groups=groups, resources=resources, resource_names=names, verbs=tuple(verbs))
        for (groups, resources, names), verbs in joined.items()
    )
    return [*kept, *simple]


def describe(rule: PolicyRule) -> str:
    """A rule on one line, as upstream prints it: ``{APIGroups:["*"], Resources:["pods"], Verbs:["get"]}``."""
    parts = (
        ("APIGroups", rule.api_groups),
        ("Resources", rule.resources),
        ("NonResourceURLs", rule.non_resource_urls),
        ("ResourceNames", rule.resource_names),
        ("Verbs", rule.verbs),
    )
    return "{" + ", ".join(f"{name}:{quoted(words)}" for name, words in parts if words) + "}"


def quoted(words: Iterable[str]) -> str:
    """Strings as Go's %q prints a slice of them: ``["a" "b"]``."""
    return "[" + " ".join(quote(word) for word in words) + "]"


def quote(word: str) -> str:
    """A string in Go's double quotes."""
    return (
        '"' + word.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\t", "\\t") + '"'
    )
