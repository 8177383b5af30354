"""ABAC: rules of a file, one JSON object a line, that allow by user, group, namespace and resource (upstream's mode ABAC).

Lines are of ``abac.authorization.kubernetes.io/v1beta1``, or of the form before it, which has neither version nor kind. A
rule that is not read-only allows all verbs, and each allows reading. Pure.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from kybern.api.rbac_v1 import PolicyRule
from kybern.auth.attributes import Attributes, Decision, Verdict
from kybern.auth.user import ALL_AUTHENTICATED, User

ANY = "*"
VERSIONS = ("abac.authorization.kubernetes.io/v1beta1", "abac.authorization.kubernetes.io/v0")
_READING = ("get", "list", "watch")
_ALLOWED = Decision(Verdict.ALLOW)
_NOTHING = Decision(Verdict.NO_OPINION, "No policy matched.")


@dataclass(frozen=True, slots=True)
class Rule:
    """``*`` stands for all; an empty word matches nothing but itself."""

    user: str = ""
    group: str = ""
    namespace: str = ""
    resource: str = ""
    api_group: str = ""
    path: str = ""
    readonly: bool = False


class Unreadable(ValueError):
    """A line that is no rule; the text names its number."""


class _Spec(msgspec.Struct, rename="camel"):
    user: str = ""
    group: str = ""
    readonly: bool = False
    api_group: str = ""
    resource: str = ""
    namespace: str = ""
    non_resource_path: str = msgspec.field(name="nonResourcePath", default="")


def read(text: str) -> tuple[Rule, ...]:
    """Empty lines and comments (#) are skipped. Raises Unreadable."""
    return tuple(_rules(text))


def _rules(text: str) -> Iterator[Rule]:
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        try:
            yield _rule(msgspec.json.decode(line, type=dict[str, Any]))
        except (msgspec.MsgspecError, ValueError) as problem:
            raise Unreadable(f"line {number}: {problem}") from problem


def _rule(raw: dict[str, Any]) -> Rule:
    version = raw.get("apiVersion", "")
    if not version and "kind" not in raw:
        return _unversioned(msgspec.convert(raw, _Spec))
    if version not in VERSIONS or raw.get("kind") != "Policy":
        raise ValueError(f'no kind "{raw.get("kind", "")}" is registered for version "{version}"')
    if version == VERSIONS[1]:
        return _unversioned(msgspec.convert(raw, _Spec))
    spec = msgspec.convert(raw.get("spec") or {}, _Spec)
    return Rule(
        spec.user,
        spec.group,
        spec.namespace,
        spec.resource,
        spec.api_group,
        spec.non_resource_path,
        spec.readonly,
    )


def _unversioned(spec: _Spec) -> Rule:
    """There, what is not said is all, and all users are those who have logged in."""
    everybody = ANY in (spec.user, spec.group) or not (spec.user or spec.group)
    return Rule(
        "" if everybody else spec.user,
        ALL_AUTHENTICATED if everybody else spec.group,
        spec.namespace or ANY,
        spec.resource or ANY,
        ANY,
        "" if spec.namespace or spec.resource else ANY,
        spec.readonly,
    )


@dataclass(frozen=True, slots=True)
class Authorizer:
    rules: Sequence[Rule] = ()

    def authorize(self, asked: Attributes) -> Decision:
        return _ALLOWED if any(_allows(rule, asked) for rule in self.rules) else _NOTHING

    def held(self, user: User, namespace: str) -> Iterator[PolicyRule]:
        """The rules of a user in a namespace, as RBAC would write them."""
        for rule in self.rules:
            if not _is(rule, user) or rule.namespace not in (ANY, namespace):
                continue
            verbs = _READING if rule.readonly else (ANY,)
            if rule.resource:
                yield PolicyRule(verbs=verbs, api_groups=(rule.api_group,), resources=(rule.resource,))
            if rule.path:
                yield PolicyRule(verbs=verbs, non_resource_urls=(rule.path,))


def _allows(rule: Rule, asked: Attributes) -> bool:
    if not _is(rule, asked.user) or (rule.readonly and asked.verb not in _READING):
        return False
    if not asked.is_resource:
        star = rule.path.endswith(ANY) and asked.path.startswith(rule.path.rstrip(ANY))
        return star or rule.path == asked.path
    return (
        rule.namespace in (ANY, asked.namespace)
        and rule.resource in (ANY, asked.resource)
        and rule.api_group in (ANY, asked.group)
    )


def _is(rule: Rule, user: User) -> bool:
    """Whoever is named by both has to be both."""
    if rule.user not in ("", ANY, user.name):
        return False
    if rule.group and rule.group != ANY and rule.group not in user.groups:
        return False
    return bool(rule.user or rule.group)
