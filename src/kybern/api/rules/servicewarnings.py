"""What a Service says that has no effect, or may be said better: upstream's GetWarningsForService."""

import ipaddress
from collections.abc import Iterator

from kybern.api.rules.servicefamilies import is_headless
from kybern.api.rules.servicetraffic import MODE, OLD_MODE
from kybern.machinery.kind import Raw


def warnings(new: Raw, _old: Raw | None) -> Iterator[str]:
    spec = new.get("spec") or {}
    if OLD_MODE in ((new.get("metadata") or {}).get("annotations") or {}):
        yield f"annotation {OLD_MODE} is deprecated, please use {MODE} instead"
    if is_headless(spec):
        yield from _headless(spec)
    else:
        yield from _written(spec, "clusterIPs")
    yield from _written(spec, "externalIPs")
    yield from _of_alias(spec)
    if spec.get("trafficDistribution") == "PreferClose":
        yield 'spec.trafficDistribution: "PreferClose" is deprecated; use "PreferSameZone"'


def _headless(spec: Raw) -> Iterator[str]:
    for key in ("loadBalancerIP", "externalIPs"):
        if spec.get(key):
            yield f"spec.{key} is ignored for headless services"
    if spec.get("sessionAffinity", "None") != "None":
        yield "spec.SessionAffinity is ignored for headless services"


def _of_alias(spec: Raw) -> Iterator[str]:
    alias = spec.get("type") == "ExternalName"
    if alias and spec.get("externalIPs"):
        yield 'spec.externalIPs is ignored when spec.type is "ExternalName"'
    if not alias and spec.get("externalName"):
        yield 'spec.externalName is ignored when spec.type is not "ExternalName"'


def _written(spec: Raw, key: str) -> Iterator[str]:
    """Addresses of IPv6 that are not written as RFC 5952 has them."""
    for at, text in enumerate(spec.get(key) or ()):
        try:
            shown = str(ipaddress.ip_address(text))
        except ValueError:  # which refuses the Service
            continue
        if shown != text:
            yield f'spec.{key}[{at}]: IPv6 address "{text}" should be in RFC 5952 canonical format ("{shown}")'
