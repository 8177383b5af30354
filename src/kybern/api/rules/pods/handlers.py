"""Probes and lifecycle hooks: what the kubelet runs, calls or connects to."""

from collections.abc import Callable, Iterator

from kybern.api.rules import ports
from kybern.api.rules.causes import (
    all_invalid,
    at_least_zero,
    forbidden,
    invalid,
    not_supported,
    one_of,
    required,
)
from kybern.api.rules.formats import http_header
from kybern.machinery.errors import Cause
from kybern.machinery.kind import Raw

_NUMBERS = (
    "initialDelaySeconds",
    "timeoutSeconds",
    "periodSeconds",
    "successThreshold",
    "failureThreshold",
)


def _exec(field: str, action: Raw) -> Iterator[Cause]:
    if not action.get("command"):
        yield required(f"{field}.command")


def _http(field: str, action: Raw) -> Iterator[Cause]:
    if not action.get("path"):
        yield required(f"{field}.path")
    yield from ports.number_or_name(f"{field}.port", action.get("port"))
    yield from one_of(f"{field}.scheme", action.get("scheme"), ("HTTP", "HTTPS"))
    for header in action.get("httpHeaders") or ():
        name = header.get("name", "")
        yield from all_invalid(f"{field}.httpHeaders", name, http_header(name))


def _port(field: str, action: Raw) -> Iterator[Cause]:
    yield from ports.number_or_name(f"{field}.port", action.get("port"))


_ACTIONS: dict[str, Callable[[str, Raw], Iterator[Cause]]] = {
    "exec": _exec,
    "httpGet": _http,
    "tcpSocket": _port,
    "grpc": _port,
}


def handler(field: str, raw: Raw, grace: int | None) -> Iterator[Cause]:
    found = 0
    for kind, check in _ACTIONS.items():
        if raw.get(kind) is None:
            continue
        if found:
            yield forbidden(f"{field}.{kind}", "may not specify more than 1 handler type")
            continue
        found += 1
        yield from check(f"{field}.{kind}", raw[kind])
    if raw.get("sleep") is not None:
        if found:
            yield forbidden(f"{field}.sleep", "may not specify more than 1 handler type")
        else:
            found += 1
            yield from _sleep(f"{field}.sleep", raw["sleep"], grace)
    if not found:
        yield required(field, "must specify a handler type")


def _sleep(field: str, action: Raw, grace: int | None) -> Iterator[Cause]:
    wanted = action.get("seconds") or 0
    most = 30 if grace is None else grace
    if wanted < 0 or wanted > most:
        text = f"must be non-negative and less than terminationGracePeriodSeconds ({most})"
        yield invalid(field, wanted, text)


def lifecycle(field: str, raw: Raw | None, grace: int | None) -> Iterator[Cause]:
    for moment in ("postStart", "preStop"):
        if raw and raw.get(moment) is not None:
            yield from handler(f"{field}.{moment}", raw[moment], grace)


def _probe(field: str, raw: Raw, grace: int | None) -> Iterator[Cause]:
    yield from handler(field, raw, grace)
    for key in _NUMBERS:
        yield from at_least_zero(f"{field}.{key}", raw.get(key))
    own = raw.get("terminationGracePeriodSeconds")
    if own is not None and own <= 0:
        yield invalid(f"{field}.terminationGracePeriodSeconds", own, "must be greater than 0")


def probes(field: str, container: Raw, grace: int | None) -> Iterator[Cause]:
    for kind in ("livenessProbe", "readinessProbe", "startupProbe"):
        raw = container.get(kind)
        if raw is None:
            continue
        at = f"{field}.{kind}"
        yield from _probe(at, raw, grace)
        if kind == "readinessProbe":
            own = raw.get("terminationGracePeriodSeconds")
            if own is not None:
                yield invalid(
                    f"{at}.terminationGracePeriodSeconds", own, "must not be set for readinessProbes"
                )
        elif raw.get("successThreshold", 1) != 1:
            yield invalid(f"{at}.successThreshold", raw["successThreshold"], "must be 1")


def pull_policy(field: str, value: str | None) -> Iterator[Cause]:
    if not value:
        yield required(field)
    elif value not in ("Always", "IfNotPresent", "Never"):
        yield not_supported(field, value, ("Always", "IfNotPresent", "Never"))
