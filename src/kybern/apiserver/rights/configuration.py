"""The AuthorizationConfiguration: which authorizers there are, in which order, and how webhooks among them are asked.

Checked as upstream checks it (``apiserver/pkg/apis/apiserver/validation``; what kube-apiserver asks beside it is in
``pkg/kubeapiserver/authorizer``), in its words. Pure but for a look at the kubeconfigs that are named, where these are here.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from kybern.apiserver.config_file import Invalid, Setting, joined, raw, read, require_none, seconds
from kybern.apiserver.rights.conditions import Condition, condition
from kybern.daemon.flags import shown_duration
from kybern.machinery import names
from kybern.machinery.causes import duplicate, invalid, not_supported, required, too_many
from kybern.machinery.cel.source import CompileError
from kybern.machinery.errors import Cause

KIND = "AuthorizationConfiguration"
WEBHOOK = "Webhook"
TYPES = ("ABAC", "AlwaysAllow", "AlwaysDeny", "Node", "RBAC", WEBHOOK)
IN_CLUSTER, FILE = "InClusterConfig", "KubeConfigFile"
_MOST = 64  # match conditions
_LONGEST = 30.0  # seconds
AUTHORIZED, UNAUTHORIZED = 300.0, 30.0
"""Seconds for which answers hold."""


class ConnectionInfo(Setting):
    type: str = ""
    kube_config_file: str | None = None


class MatchCondition(Setting):
    expression: str = ""


class WebhookSetting(Setting):
    """Durations in Go's notation."""

    authorized_ttl: str = msgspec.field(name="authorizedTTL", default="")
    cache_authorized_requests: bool = True
    unauthorized_ttl: str = msgspec.field(name="unauthorizedTTL", default="")
    cache_unauthorized_requests: bool = True
    timeout: str = ""
    subject_access_review_version: str = ""
    match_condition_subject_access_review_version: str = ""
    failure_policy: str = ""
    connection_info: ConnectionInfo = ConnectionInfo()
    match_conditions: tuple[MatchCondition, ...] = ()


class AuthorizerSetting(Setting):
    type: str = ""
    name: str = ""
    webhook: WebhookSetting | None = None


class File(Setting):
    kind: str = ""
    api_version: str = ""
    authorizers: tuple[AuthorizerSetting, ...] = ()


@dataclass(frozen=True, slots=True)
class Webhook:
    """How one is asked. ``kubeconfig`` empty: this server's own cluster. Times in seconds; 0 keeps no answer."""

    kubeconfig: str
    version: str = "v1beta1"
    timeout: float = 30.0
    authorized: float = AUTHORIZED
    unauthorized: float = UNAUTHORIZED
    denies: bool = False
    conditions: tuple[Condition, ...] = ()


@dataclass(frozen=True, slots=True)
class Wanted:
    """One authorizer. ``webhook`` is there for those of that type alone."""

    type: str
    name: str
    webhook: Webhook | None = None


def unusable(path: Path) -> str:
    """What is wrong with a file that is named, as far as a look tells."""
    try:
        path.stat()
    except OSError as problem:
        return f"error loading file: stat {path}: {(problem.strerror or '').lower()}"
    return "" if path.is_file() else "must be a regular file"


def parse(
    content: bytes, needed: Collection[str] = (), look: Callable[[Path], str] = unusable
) -> tuple[Wanted, ...]:
    """The authorizers of a file. ``needed``: types that it must have; ``look`` as ``unusable``. Raises Invalid."""
    file = read(content, KIND, File)
    require_none(_causes(file, look))
    faults = [
        f"expected name {one.type.lower()} for authorizer {one.type} instead of {one.name}"
        for one in file.authorizers
        if one.type != WEBHOOK and one.name != one.type.lower()
    ]
    if missing := sorted(set(needed) - {one.type for one in file.authorizers}):
        faults.append(f"missing required types: [{' '.join(missing)}]")
    if faults:
        raise Invalid(joined(faults))
    return tuple(
        Wanted(one.type, one.name, _webhook(one.webhook) if one.webhook else None) for one in file.authorizers
    )


def _webhook(setting: WebhookSetting) -> Webhook:
    return Webhook(
        setting.connection_info.kube_config_file or "",
        setting.subject_access_review_version,
        seconds(setting.timeout, "timeout"),
        (seconds(setting.authorized_ttl, "") or AUTHORIZED) if setting.cache_authorized_requests else 0.0,
        (seconds(setting.unauthorized_ttl, "") or UNAUTHORIZED)
        if setting.cache_unauthorized_requests
        else 0.0,
        setting.failure_policy == "Deny",
        tuple(condition(one.expression) for one in setting.match_conditions),
    )


def _causes(file: File, look: Callable[[Path], str]) -> Iterator[Cause]:
    if not file.authorizers:
        yield required("authorizers", "at least one authorization mode must be defined")
    types: set[str] = set()
    known: set[str] = set()
    for number, one in enumerate(file.authorizers):
        at = f"authorizers[{number}]"
        if not one.type:
            yield required(f"{at}.type")
        elif one.type not in TYPES:
            yield not_supported(f"{at}.type", one.type, TYPES)
        elif one.type in types and one.type != WEBHOOK:
            yield duplicate(f"{at}.type", one.type)
        else:
            types.add(one.type)
            yield from _name(one.name, f"{at}.name", known)
            yield from _webhook_causes(one, f"{at}.webhook", look)


def _name(name: str, at: str, known: set[str]) -> Iterator[Cause]:
    if not name:
        yield required(at)
    elif name in known:
        yield duplicate(at, name)
    elif problems := list(names.dns1123_subdomain(name)):
        yield invalid(at, name, f"authorizer name is invalid: {', '.join(problems)}")
    known.add(name)


def _webhook_causes(one: AuthorizerSetting, at: str, look: Callable[[Path], str]) -> Iterator[Cause]:
    if one.type != WEBHOOK:
        if one.webhook is not None:
            yield invalid(at, "non-null", "may only be specified when type=Webhook")
        return
    if one.webhook is None:
        yield required(at, "required when type=Webhook")
        return
    # Upstream names these fields without the word "webhook" between.
    at = at.removesuffix(".webhook")
    setting = one.webhook
    yield from _times(setting, at)
    yield from _choice(
        f"{at}.subjectAccessReviewVersion", setting.subject_access_review_version, ("v1", "v1beta1")
    )
    matched = setting.match_condition_subject_access_review_version
    if matched:
        yield from _choice(f"{at}.matchConditionSubjectAccessReviewVersion", matched, ("v1",))
    elif setting.match_conditions:
        yield required(
            f"{at}.matchConditionSubjectAccessReviewVersion", "required if match conditions are specified"
        )
    yield from _choice(f"{at}.failurePolicy", setting.failure_policy, ("NoOpinion", "Deny"))
    yield from _connection(setting.connection_info, f"{at}.connectionInfo", look)
    yield from _conditions(setting.match_conditions, f"{at}.matchConditions")


def _choice(at: str, value: str, choices: Sequence[str]) -> Iterator[Cause]:
    if not value:
        yield required(at)
    elif value not in choices:
        yield not_supported(at, value, choices)


def _times(setting: WebhookSetting, at: str) -> Iterator[Cause]:
    timeout = seconds(setting.timeout, f"{at}.timeout")
    if not timeout:
        yield required(f"{at}.timeout")
    elif not 0 < timeout <= _LONGEST:
        yield invalid(f"{at}.timeout", shown_duration(timeout), "must be > 0s and <= 30s")
    for name, text in (
        ("authorizedTTL", setting.authorized_ttl),
        ("unauthorizedTTL", setting.unauthorized_ttl),
    ):
        if (found := seconds(text, f"{at}.{name}")) < 0:
            yield invalid(f"{at}.{name}", shown_duration(found), "must be > 0s")


def _connection(info: ConnectionInfo, at: str, look: Callable[[Path], str]) -> Iterator[Cause]:
    place, path = f"{at}.kubeConfigFile", info.kube_config_file
    if not info.type:
        yield required(f"{at}.type")
    elif info.type == IN_CLUSTER:
        if path is not None:
            yield invalid(place, path, "can only be set when type=KubeConfigFile")
    elif info.type != FILE:
        yield not_supported(f"{at}.type", raw(info), (IN_CLUSTER, FILE))
    elif not path:
        yield required(place)
    elif not path.startswith("/"):
        yield invalid(place, path, "must be an absolute path")
    elif problem := look(Path(path)):
        yield invalid(place, path, problem)


def _conditions(found: Sequence[MatchCondition], at: str) -> Iterator[Cause]:
    if len(found) > _MOST:
        yield too_many(at, len(found), _MOST)
        return
    known: set[str] = set()
    for number, one in enumerate(found):
        place = f"{at}[{number}].expression"
        if not one.expression.strip():
            yield required(place)
        elif one.expression in known:
            yield duplicate(place, one.expression)
        else:
            known.add(one.expression)
            try:
                condition(one.expression)
            except CompileError as problem:
                yield invalid(place, one.expression, str(problem))
