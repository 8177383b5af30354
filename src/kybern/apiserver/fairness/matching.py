"""Whose flow a request is of: the first flow schema that speaks of it. Pure; the words of rules are upstream's."""

from collections.abc import Iterable

from kybern.api.flowcontrol_v1 import (
    FlowSchema,
    NonResourcePolicyRule,
    PolicyRulesWithSubjects,
    ResourcePolicyRule,
    Subject,
)
from kybern.auth.attributes import Attributes
from kybern.auth.user import User

ANY = "*"
_ACCOUNT = "system:serviceaccount:"


def in_order(schemas: Iterable[FlowSchema]) -> list[FlowSchema]:
    """As they are asked: by precedence, then by name."""
    return sorted(schemas, key=lambda one: (one.spec.matching_precedence or 0, one.metadata.name))


def matches(schema: FlowSchema, asked: Attributes) -> bool:
    return any(_speaks(rules, asked) for rules in schema.spec.rules)


def distinguisher(schema: FlowSchema, asked: Attributes) -> str:
    """What parts the requests of a schema into flows: a user, a namespace, or nothing."""
    method = schema.spec.distinguisher_method
    match method.type if method else "":
        case "ByUser":
            return asked.user.name
        case "ByNamespace":
            return asked.namespace
        case _:
            return ""


def _speaks(rules: PolicyRulesWithSubjects, asked: Attributes) -> bool:
    if not any(_is(asked.user, subject) for subject in rules.subjects):
        return False
    if asked.is_resource:
        return any(_concerns(rule, asked) for rule in rules.resource_rules)
    return any(_leads(rule, asked) for rule in rules.non_resource_rules)


def _is(user: User, subject: Subject) -> bool:
    match subject.kind:
        case "User" if subject.user:
            return subject.user.name in (ANY, user.name)
        case "Group" if subject.group:
            return subject.group.name == ANY or subject.group.name in user.groups
        case "ServiceAccount" if subject.service_account:
            account = subject.service_account
            start = f"{_ACCOUNT}{account.namespace}:"
            return user.name.startswith(start) if account.name == ANY else user.name == start + account.name
        case _:
            return False


def _concerns(rule: ResourcePolicyRule, asked: Attributes) -> bool:
    resource = f"{asked.resource}/{asked.subresource}" if asked.subresource else asked.resource
    if not (_has(rule.verbs, asked.verb) and _has(rule.resources, resource)):
        return False
    if not _has(rule.api_groups, asked.group):
        return False
    return _has(rule.namespaces, asked.namespace) if asked.namespace else bool(rule.cluster_scope)


def _leads(rule: NonResourcePolicyRule, asked: Attributes) -> bool:
    return _has(rule.verbs, asked.verb) and any(_under(asked.path, url) for url in rule.non_resource_urls)


def _under(path: str, url: str) -> bool:
    """A URL stands for all below it, with a star at its end or without."""
    return url in (ANY, path) or path.startswith(url.removesuffix(ANY).removesuffix("/") + "/")


def _has(words: tuple[str, ...], word: str) -> bool:
    return word in words or ANY in words
