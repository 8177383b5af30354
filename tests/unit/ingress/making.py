"""Ingresses and what they lead to, for tests, made of as little as each needs."""

import base64
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

from kybern.api.core_v1 import Secret, Service, ServicePort, ServiceSpec
from kybern.api.discovery_v1 import Endpoint, EndpointConditions, EndpointPort, EndpointSlice
from kybern.api.meta_v1 import ObjectMeta
from kybern.api.networking_v1 import (
    HTTPIngressPath,
    HTTPIngressRuleValue,
    Ingress,
    IngressBackend,
    IngressClass,
    IngressClassSpec,
    IngressRule,
    IngressServiceBackend,
    IngressSpec,
    IngressTLS,
    ServiceBackendPort,
)  # fmt: skip
from kybern.daemon.self_signed import pair
from kybern.ingress.objects import SERVICE, World

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
CLASSES = (
    IngressClass(metadata=ObjectMeta(name="kybern"), spec=IngressClassSpec(controller="kybern.io/ingress")),
    IngressClass(metadata=ObjectMeta(name="other"), spec=IngressClassSpec(controller="other.io/ingress")),
)

type Line = tuple[str, str, str, str]  # host, path, pathType, SERVICE:PORT


def backend(to: str) -> IngressBackend:
    name, _, port = to.partition(":")
    asked = ServiceBackendPort(number=int(port)) if port.isdecimal() else ServiceBackendPort(name=port)
    return IngressBackend(service=IngressServiceBackend(name=name, port=asked))


def ingress(
    name: str,
    *lines: Line,
    default: str = "",
    tls: tuple[tuple[str, tuple[str, ...]], ...] = (),
    age: float = 0,
    class_: str = "kybern",
    namespace: str = "a",
    **annotations: str,
) -> Ingress:
    rules = tuple(
        IngressRule(
            host=host,
            http=HTTPIngressRuleValue(
                paths=(HTTPIngressPath(path=path, path_type=kind, backend=backend(to)),)
            ),
        )
        for host, path, kind, to in lines
    )
    return Ingress(
        metadata=ObjectMeta(
            name=name,
            namespace=namespace,
            annotations={f"kybern.io/{key.replace('_', '-')}": value for key, value in annotations.items()},
            creation_timestamp=NOW - timedelta(seconds=age),
        ),
        spec=IngressSpec(
            ingress_class_name=class_,
            rules=rules,
            default_backend=backend(default) if default else None,
            tls=tuple(IngressTLS(secret_name=secret, hosts=hosts) for secret, hosts in tls),
        ),
    )


def service(name: str, **spec: Any) -> Service:
    ports = (
        ServicePort(name="web", port=80),
        ServicePort(name="dns", port=53, protocol="UDP"),
        ServicePort(name="dns-tcp", port=53),
    )
    given: dict[str, Any] = {"ports": ports, "ip_families": ("IPv4",), **spec}
    return Service(metadata=ObjectMeta(name=name, namespace="a"), spec=ServiceSpec(**given))


def endpoint(
    address: str, *, ready: bool | None = None, serving: bool = False, ending: bool = False
) -> Endpoint:
    conditions = EndpointConditions(ready=ready, serving=serving, terminating=ending)
    return Endpoint(addresses=(address,), conditions=conditions)


def slice_of(name: str, *endpoints: Endpoint, port: int = 8080, family: str = "IPv4") -> EndpointSlice:
    return EndpointSlice(
        metadata=ObjectMeta(name=f"{name}-{family}".lower(), namespace="a", labels={SERVICE: name}),
        address_type=family,
        endpoints=endpoints,
        ports=(EndpointPort(name="web", port=port),),
    )


@cache
def certificate(*names: str) -> tuple[bytes, bytes]:
    return pair(names)


def secret(name: str, *names: str, **data: bytes) -> Secret:
    chain, key = certificate(*names)
    told = {"tls.crt": chain, "tls.key": key, **{key.replace("_", "."): value for key, value in data.items()}}
    return Secret(
        metadata=ObjectMeta(name=name, namespace="a"),
        type="kubernetes.io/tls",
        data={key: base64.b64encode(value).decode() for key, value in told.items() if value},
    )


def world(*objects: Any) -> World:
    def of(kind: type[Any]) -> list[Any]:
        return [one for one in objects if isinstance(one, kind)]

    return World.of(CLASSES, of(Ingress), of(Service), of(EndpointSlice), of(Secret))
