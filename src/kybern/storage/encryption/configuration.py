"""The EncryptionConfiguration: which resources are encrypted, by which keys. Pure.

``apiserver.config.k8s.io/v1``, checked as upstream checks it; a key that upstream would pass over is an error here, as
everywhere. A ``Rule`` is what a resource comes to: its ways in their order. The first seals, all of them open.

A resource has the rule of its own name, else that of its group (``*.apps``, ``*.`` for the core group), else that of all
(``*.*``). What an earlier wildcard covers cannot be said again later; the same resource in several entries has all their
providers in order.
"""

import base64
import binascii
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

from kybern.daemon.flags import duration
from kybern.storage.encryption.ciphers import PROVIDERS, Way
from kybern.storage.encryption.kms import Kms, KmsSetting

API_VERSION, KIND = "apiserver.config.k8s.io/v1", "EncryptionConfiguration"
MARK = b"k8s:enc:"
ALL = "*.*"
# Kept beside the API's objects, and no resources that a request could name.
_UNNAMED = ("apiserveripinfo", "serviceipallocations", "servicenodeportallocations")


class Invalid(Exception):
    """A configuration that cannot be used. The message names the field, and no secret."""


@dataclass(frozen=True, slots=True)
class Step:
    """One key of one provider: values that it sealed begin with ``prefix``. The one of identity has neither."""

    prefix: bytes
    way: Way | None = field(repr=False)


type Rule = tuple[Step, ...]

IDENTITY = Step(b"", None)


@dataclass(frozen=True, slots=True)
class Configuration:
    """Rules by resource as the configuration names it: secrets, deployments.apps, ``*.apps``, ``*.``, ``*.*``.

    ``services`` are the ways that need a key management service, in the order in which they are named.
    """

    rules: Mapping[str, Rule] = field(default_factory=dict)
    services: tuple[Kms, ...] = ()

    def rule(self, group: str, resource: str) -> Rule:
        """Of a resource; empty when nothing is said of it."""
        names = (f"{resource}.{group}" if group else resource, f"*.{group}", ALL)
        return next((self.rules[name] for name in names if name in self.rules), ())


def parse(text: bytes, make: Callable[[KmsSetting], Kms] = Kms) -> Configuration:
    """``make`` gives the way of a key management service: a new one, or one that is at work. Raises Invalid."""
    try:
        found = yaml.safe_load(text)
    except (yaml.YAMLError, UnicodeDecodeError) as problem:
        # Its own words would show the line, and with it the key.
        raise Invalid("it is not YAML") from problem
    if not isinstance(found, Mapping):
        raise Invalid("it is empty")
    if (found.get("apiVersion"), found.get("kind")) != (API_VERSION, KIND):
        raise Invalid(f"it is not a {KIND} of {API_VERSION}")
    _only(found, "", ("apiVersion", "kind", "resources"))
    rules: dict[str, Rule] = {}
    services = _Services(make)
    for at, entry in _each(found, "resources", ""):
        _only(entry, at, ("resources", "providers"))
        names = _names(entry, f"{at}.resources")
        rule = tuple(
            step for where, one in _each(entry, "providers", at) for step in _steps(one, where, services)
        )
        for name in names:
            group = name.partition(".")[2]
            if ALL not in rules and f"*.{group}" not in rules:
                rules[name] = rules.get(name, ()) + rule
    return Configuration(rules, tuple(services.made))


def _names(entry: Mapping[str, Any], at: str) -> tuple[str, ...]:
    names = entry.get("resources")
    if not isinstance(names, list) or not names or not all(isinstance(name, str) and name for name in names):
        raise Invalid(f"{at}: at least one resource is required")
    if len(set(names)) < len(names):
        raise Invalid(f"{at}: the same resource cannot be specified multiple times")
    for name in names:
        if problem := _refused(name):
            raise Invalid(f'{at}: "{name}": {problem}')
    groups = [name.partition(".")[2] for name in names]
    if len(names) > 1 and any(
        name == ALL or (name.startswith("*.") and groups.count(name[2:]) > 1) for name in names
    ):
        raise Invalid(
            f"{at}: overlapping resources such as 'secrets' and '*.' in one list would mask each other"
        )
    return tuple(names)


def _refused(name: str) -> str:
    """Why a name covers nothing; empty when it does."""
    resource, _, group = name.partition(".")
    refusals = (
        (name != name.lower(), "resource name should not contain capital letters"),
        (name == "*", "use '*.' for all resources of the core group, or '*.*' for all resources"),
        (name in _UNNAMED, "resources which do not have REST API/s cannot be encrypted"),
        (group == "events.k8s.io", "these objects are stored in the core group; use 'events'"),
        (group == "extensions", "the group has been removed"),
        (
            group == "*" and resource != "*",
            "encrypting the same resource across groups is not supported",
        ),
    )
    return next((why for applies, why in refusals if applies), "")


class _Services:
    """Key management services that a configuration names; each name once."""

    def __init__(self, make: Callable[[KmsSetting], Kms]) -> None:
        self._make = make
        self.made: list[Kms] = []

    def step(self, raw: Any, at: str) -> Step:
        """Raises Invalid."""
        if not isinstance(raw, Mapping):
            raise Invalid(f"{at}: it is no object")
        _only(raw, at, ("apiVersion", "name", "cachesize", "endpoint", "timeout"))
        if problem := next(self._problems(raw), ""):
            raise Invalid(f"{at}.{problem}")
        setting = KmsSetting(raw["name"], raw["endpoint"], _timeout(raw))
        self.made.append(self._make(setting))
        return Step(b"%bkms:v2:%b:" % (MARK, setting.name.encode()), self.made[-1])

    def _problems(self, raw: Mapping[str, Any]) -> Iterator[str]:
        """Upstream's words, after the field."""
        version = raw.get("apiVersion") or "v1"
        yield from self._wrong_name(raw.get("name"), version)
        if _timeout(raw) <= 0:
            yield "timeout: timeout should be a positive value"
        yield from _wrong_endpoint(raw.get("endpoint"))
        if version not in ("v1", "v2"):
            yield "apiVersion: unsupported apiVersion apiVersion for KMS provider, only v1 and v2 are supported"
        if version == "v1":
            yield f"apiVersion: {_OLD}"
        if raw.get("cachesize") is not None:
            yield "cachesize: cachesize is not supported in v2"

    def _wrong_name(self, name: Any, version: str) -> Iterator[str]:
        if not isinstance(name, str) or not name:
            yield "name: name is a mandatory field for a provider"
        elif ":" in name and version != "v1":
            yield f"name: invalid KMS provider name {name}, must not contain ':'"
        elif any(one.setting.name == name for one in self.made):
            yield f"name: duplicate KMS provider name {name}, names must be unique"


def _wrong_endpoint(endpoint: Any) -> Iterator[str]:
    if not isinstance(endpoint, str) or not endpoint:
        yield "endpoint: endpoint is a mandatory field for a kms"
    elif not endpoint.startswith("unix://"):
        scheme = endpoint.partition("://")[0] if "://" in endpoint else ""
        yield f'endpoint: unsupported scheme "{scheme}" for KMS provider, only unix is supported'


_OLD = (
    "KMSv1 is deprecated and will only receive security updates going forward. Use KMSv2 instead.  Set "
    "--feature-gates=KMSv1=true to use the deprecated KMSv1 feature."
)


def _timeout(raw: Mapping[str, Any]) -> float:
    """Seconds; three unless something is said. What cannot be read is none."""
    found = raw.get("timeout")
    if found is None:
        return 3.0
    try:
        return duration(found) if isinstance(found, str) else 0.0
    except ValueError:
        return 0.0


def _steps(provider: Mapping[str, Any], at: str, services: _Services) -> Iterator[Step]:
    if len(provider) != 1:
        raise Invalid(f"{at}: one provider is required, one of {', '.join(PROVIDERS)}, kms, identity")
    ((name, settings),) = provider.items()
    if name == "kms":
        yield services.step(settings, f"{at}.kms")
        return
    if name == "identity":
        yield IDENTITY
        return
    if name not in PROVIDERS:
        raise Invalid(f'{at}: unknown provider "{name}"; known: {", ".join(PROVIDERS)}, kms, identity')
    if not isinstance(settings, Mapping):
        raise Invalid(f"{at}.{name}: at least one key is required")
    _only(settings, f"{at}.{name}", ("keys",))
    make = PROVIDERS[name]
    for where, key in _each(settings, "keys", f"{at}.{name}"):
        _only(key, where, ("name", "secret"))
        called = key.get("name")
        if not isinstance(called, str) or not called:
            raise Invalid(f"{where}.name: name is a mandatory field for a key")
        yield Step(
            b"%b%b:v1:%b:" % (MARK, name.encode(), called.encode()), make(_secret(key, where, make.sizes))
        )


def _secret(key: Mapping[str, Any], at: str, sizes: tuple[int, ...]) -> bytes:
    text = key.get("secret")
    if not isinstance(text, str) or not text:
        raise Invalid(f"{at}.secret: secret is a mandatory field for a key")
    try:
        found = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as problem:
        raise Invalid(f"{at}.secret: secrets must be base64 encoded") from problem
    if len(found) not in sizes:
        known = " or ".join(map(str, sizes))
        raise Invalid(f"{at}.secret: it is {len(found)} bytes long, and has to be {known}")
    return found


def _each(raw: Mapping[str, Any], name: str, at: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The elements of a list that must not be empty, with their places."""
    place = f"{at}.{name}" if at else name
    found = raw.get(name)
    if not isinstance(found, list) or not found:
        raise Invalid(f"{place}: at least one is required")
    for number, one in enumerate(found):
        if not isinstance(one, Mapping):
            raise Invalid(f"{place}[{number}]: it is no object")
        yield f"{place}[{number}]", one


def _only(raw: Mapping[str, Any], at: str, known: tuple[str, ...]) -> None:
    for key in raw:
        if key not in known:
            raise Invalid(f"{at}{'.' if at else ''}{key}: unknown field; known: {', '.join(known)}")
