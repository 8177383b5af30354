"""The audit policy: how much of which request is told. Pure.

A Policy of audit.k8s.io/v1 is read strictly: a rule that is not understood must not silently tell less. The first rule that
matches a request decides; a request that none matches is not told.
See https://kubernetes.io/docs/tasks/debug/debug-cluster/audit/.
"""

import re
from collections.abc import Iterator, Sequence
from enum import IntEnum
from typing import Any

import msgspec
import yaml

from kybern.auth.attributes import Attributes

VERSION = "audit.k8s.io/v1"
STAGES = ("RequestReceived", "ResponseStarted", "ResponseComplete", "Panic")
_DOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")


class Level(IntEnum):
    """How much is told: each level tells what those before it do."""

    None_ = 0
    Metadata = 1
    Request = 2
    RequestResponse = 3

    @property
    def wire(self) -> str:
        return self.name.rstrip("_")


LEVELS = {level.wire: level for level in Level}


class Resources(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """Resources of one group: ``pods``, ``pods/log``, ``pods/*``, ``*/scale`` or ``*``; none: all."""

    group: str = ""
    resources: tuple[str, ...] = ()
    resource_names: tuple[str, ...] = ()

    def match(self, asked: Attributes) -> bool:
        if self.group != asked.group:
            return False
        if not self.resources:
            return True
        if self.resource_names and asked.name not in self.resource_names:
            return False
        whole = f"{asked.resource}/{asked.subresource}" if asked.subresource else asked.resource
        meant = {whole, "*", f"{asked.resource}/*"}
        if asked.subresource:
            meant.add(f"*/{asked.subresource}")
        return not meant.isdisjoint(self.resources)


class Rule(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """One rule. An empty list matches everything; ``namespaces`` and ``resources`` match requests for resources only."""

    level: str = ""
    users: tuple[str, ...] = ()
    user_groups: tuple[str, ...] = ()
    verbs: tuple[str, ...] = ()
    resources: tuple[Resources, ...] = ()
    namespaces: tuple[str, ...] = ()
    non_resource_urls: tuple[str, ...] = msgspec.field(default=(), name="nonResourceURLs")
    omit_stages: tuple[str, ...] = ()
    omit_managed_fields: bool | None = None

    def match(self, asked: Attributes) -> bool:
        if self.users and asked.user.name not in self.users:
            return False
        if self.user_groups and not set(self.user_groups).intersection(asked.user.groups):
            return False
        if self.verbs and asked.verb not in self.verbs:
            return False
        if self.namespaces or self.resources:
            return self._about_resource(asked)
        if self.non_resource_urls:
            return not asked.is_resource and any(_covers(url, asked.path) for url in self.non_resource_urls)
        return True

    def _about_resource(self, asked: Attributes) -> bool:
        if not asked.is_resource or (self.namespaces and asked.namespace not in self.namespaces):
            return False
        return not self.resources or any(one.match(asked) for one in self.resources)


class Telling(msgspec.Struct, frozen=True):
    """What the policy wants of one request."""

    level: Level
    omitted: frozenset[str] = frozenset()
    managed_fields: bool = True


NOTHING = Telling(Level.None_)


class Policy:
    """``tell`` decides; one line of a rule's matching is all that most requests cost."""

    def __init__(
        self, rules: Sequence[Rule], omit_stages: Sequence[str] = (), *, omit_managed: bool = False
    ) -> None:
        self._rules = [
            (
                rule,
                Telling(
                    LEVELS[rule.level],
                    frozenset((*omit_stages, *rule.omit_stages)),
                    not (omit_managed if rule.omit_managed_fields is None else rule.omit_managed_fields),
                ),
            )
            for rule in rules
        ]

    def tell(self, asked: Attributes) -> Telling:
        for rule, telling in self._rules:
            if rule.match(asked):
                return telling
        return NOTHING


class _Document(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    api_version: str = ""
    kind: str = ""
    metadata: dict[str, Any] = {}
    rules: tuple[Rule, ...] = ()
    omit_stages: tuple[str, ...] = ()
    omit_managed_fields: bool = False


def read(text: str) -> Policy:
    """The policy of a file's text. Raises ValueError, which says what is wrong and where."""
    try:
        found = msgspec.convert(yaml.safe_load(text), _Document)
    except yaml.YAMLError as problem:
        raise ValueError(f"it is not YAML: {problem}") from problem
    except msgspec.ValidationError as problem:
        raise ValueError(str(problem)) from problem
    if (found.api_version, found.kind) != (VERSION, "Policy"):
        raise ValueError(
            f'it is "{found.kind}" of "{found.api_version}", and must be "Policy" of "{VERSION}"'
        )
    if not found.rules:
        raise ValueError("it has no rules, and would tell nothing; give it at least one")
    if wrong := [*_stages(found.omit_stages, "omitStages"), *_wrong(found.rules)]:
        raise ValueError("; ".join(wrong))
    return Policy(found.rules, found.omit_stages, omit_managed=found.omit_managed_fields)


def _wrong(rules: Sequence[Rule]) -> Iterator[str]:
    for number, rule in enumerate(rules):
        at = f"rules[{number}]"
        if not rule.level:
            yield f"{at}.level: Required value"
        elif rule.level not in LEVELS:
            known = ", ".join(f'"{level}"' for level in sorted(LEVELS))
            yield f'{at}.level: Unsupported value: "{rule.level}": supported values: {known}'
        yield from _urls(rule, f"{at}.nonResourceURLs")
        for place, one in enumerate(rule.resources):
            if one.group and not _DOMAIN.fullmatch(one.group):
                yield f'{at}.resources[{place}].group: Invalid value: "{one.group}": it has no version, and is in lower case'
            if one.resource_names and not one.resources:
                yield f"{at}.resources[{place}].resourceNames: using resourceNames requires at least one resource"
        yield from _stages(rule.omit_stages, f"{at}.omitStages")


def _urls(rule: Rule, at: str) -> Iterator[str]:
    for place, url in enumerate(rule.non_resource_urls):
        if url != "*" and not url.startswith("/"):
            yield f"{at}[{place}]: Invalid value: \"{url}\": non-resource URL rules must begin with a '/' character"
        elif "*" in url[:-1]:
            yield (
                f"{at}[{place}]: Invalid value: \"{url}\": non-resource URL wildcards '*' must be the final character of "
                "the rule"
            )
    if rule.non_resource_urls and (rule.resources or rule.namespaces):
        yield f"{at}: Invalid value: rules cannot apply to both regular resources and non-resource URLs"


def _stages(stages: Sequence[str], at: str) -> Iterator[str]:
    for place, stage in enumerate(stages):
        if stage not in STAGES:
            yield f'{at}[{place}]: Invalid value: "{stage}": allowed stages are {",".join(STAGES)}'


def _covers(url: str, path: str) -> bool:
    return url in ("*", path) or (url.endswith("*") and path.startswith(url.rstrip("*")))
