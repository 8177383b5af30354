"""Ingresses and their classes."""

import ipaddress
from collections.abc import Iterator

from kybern.api.rules import ports
from kybern.api.rules.causes import (
    all_invalid,
    forbidden,
    invalid,
    one_of,
    required,
    too_long,
    unchanged,
)
from kybern.api.rules.formats import domain_path, label, path_segment, subdomain, wildcard
from kybern.machinery.errors import Cause
from kybern.machinery.kind import Raw

_CLASS_ANNOTATION = "kubernetes.io/ingress.class"
_PATH_TYPES = ("Exact", "ImplementationSpecific", "Prefix")
_BAD_PATHS = ("//", "/./", "/../", "%2f", "%2F")
_BAD_ENDS = ("/..", "/.")
_BACKEND = "resource or service backend is required"


def ingress(new: Raw, old: Raw | None) -> Iterator[Cause]:
    spec = new.get("spec") or {}
    annotations = (new.get("metadata") or {}).get("annotations") or {}
    if old is None and _CLASS_ANNOTATION in annotations and spec.get("ingressClassName") is not None:
        text = "can not be set when the class field is also set"
        yield invalid("metadata.annotations", annotations[_CLASS_ANNOTATION], text)
    rules = spec.get("rules") or []
    if not rules and spec.get("defaultBackend") is None:
        yield invalid("spec", rules or None, "either `defaultBackend` or `rules` must be specified")
    if spec.get("defaultBackend") is not None:
        yield from _backend("spec.defaultBackend", spec["defaultBackend"])
    for i, rule in enumerate(rules):
        yield from _rule(f"spec.rules[{i}]", rule)
    for i, tls in enumerate(spec.get("tls") or ()):
        yield from _tls(f"spec.tls[{i}]", tls)
    name = spec.get("ingressClassName")
    if name is not None:
        yield from all_invalid("spec.ingressClassName", name, subdomain(name))


def _host(field: str, host: str) -> Iterator[Cause]:
    yield from all_invalid(field, host, wildcard(host) if "*" in host else subdomain(host))


def _rule(field: str, rule: Raw) -> Iterator[Cause]:
    host = rule.get("host", "")
    if host:
        try:
            ipaddress.ip_address(host)
        except ValueError:
            yield from _host(f"{field}.host", host)
        else:
            yield invalid(f"{field}.host", host, "must be a DNS name, not an IP address")
            yield from _host(f"{field}.host", host)
    http = rule.get("http")
    if http is None:
        return
    paths = http.get("paths") or []
    if not paths:
        yield required(f"{field}.http.paths")
    for i, path in enumerate(paths):
        yield from _path(f"{field}.http.paths[{i}]", path)


def _path(field: str, raw: Raw) -> Iterator[Cause]:
    kind, path, at = raw.get("pathType"), raw.get("path", ""), f"{field}.path"
    if kind is None:
        yield required(f"{field}.pathType", "pathType must be specified")
    elif kind in ("Exact", "Prefix"):
        yield from _strict_path(at, path)
    elif kind == "ImplementationSpecific":
        if path and not path.startswith("/"):
            yield invalid(at, path, "must be an absolute path")
    else:
        yield from one_of(f"{field}.pathType", kind, _PATH_TYPES)
    yield from _backend(f"{field}.backend", raw.get("backend") or {})


def _strict_path(field: str, path: str) -> Iterator[Cause]:
    if not path.startswith("/"):
        yield invalid(field, path, "must be an absolute path")
    for part in _BAD_PATHS:
        if part in path:
            yield invalid(field, path, f"must not contain '{part}'")
    for end in _BAD_ENDS:
        if path.endswith(end):
            yield invalid(field, path, f"must not end with '{end}'")


def _backend(field: str, raw: Raw) -> Iterator[Cause]:
    resource, service = raw.get("resource"), raw.get("service")
    if resource is not None and service is not None:
        yield invalid(field, "", "cannot set both resource and service backends")
    elif resource is not None:
        yield from _object(f"{field}.resource", resource)
    elif service is not None:
        yield from _service(field, service)
    else:
        yield invalid(field, "", _BACKEND)


def _object(field: str, raw: Raw) -> Iterator[Cause]:
    for key in ("kind", "name"):
        value = raw.get(key, "")
        if not value:
            yield required(f"{field}.{key}")
        else:
            yield from all_invalid(f"{field}.{key}", value, path_segment(value))
    if raw.get("apiGroup"):
        yield from all_invalid(f"{field}.apiGroup", raw["apiGroup"], subdomain(raw["apiGroup"]))


def _service(field: str, raw: Raw) -> Iterator[Cause]:
    name, port = raw.get("name", ""), raw.get("port") or {}
    if not name:
        yield required(f"{field}.service.name")
    else:
        yield from all_invalid(f"{field}.service.name", name, label(name))
    if port.get("name") and port.get("number"):
        yield invalid(field, "", "cannot set both port name & port number")
    elif port.get("name"):
        yield from ports.number_or_name(f"{field}.service.port.name", port["name"])
    elif port.get("number"):
        yield from ports.number(f"{field}.service.port.number", port["number"])
    else:
        yield required(field, "port name or number is required")


def _tls(field: str, raw: Raw) -> Iterator[Cause]:
    for j, host in enumerate(raw.get("hosts") or ()):
        yield from _host(f"{field}.hosts[{j}]", host)
    secret = raw.get("secretName", "")
    if secret:
        yield from all_invalid(f"{field}.secretName", secret, subdomain(secret))


def ingress_class(new: Raw, old: Raw | None) -> Iterator[Cause]:
    spec = new.get("spec") or {}
    if old is not None:
        was = (old.get("spec") or {}).get("controller", "")
        yield from unchanged("spec.controller", spec.get("controller", ""), was)
    controller = spec.get("controller", "")
    if len(controller) > 250:
        yield too_long("spec.controller", 250)
    if not controller:
        yield required("spec.controller")
    else:
        yield from all_invalid("spec.controller", controller, domain_path(controller))
    if spec.get("parameters") is not None:
        yield from _parameters("spec.parameters", spec["parameters"])


def _parameters(field: str, raw: Raw) -> Iterator[Cause]:
    yield from _object(field, raw)
    scope, namespace = raw.get("scope"), raw.get("namespace")
    if scope is None:
        yield required(f"{field}.scope")
        return
    if scope == "Namespace":
        if namespace is None:
            yield required(f"{field}.namespace", "`parameters.scope` is set to 'Namespace'")
        else:
            yield from all_invalid(f"{field}.namespace", namespace, label(namespace))
    elif scope == "Cluster":
        if namespace is not None:
            yield forbidden(f"{field}.namespace", "`parameters.scope` is set to 'Cluster'")
    else:
        yield from one_of(f"{field}.scope", scope, ("Cluster", "Namespace"))
