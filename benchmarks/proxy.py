"""What kube-proxy spends on 1,000 services of two endpoints each, in this process: model, rules, difference."""

from collections.abc import Iterable

from benchmarks.measure import Benchmark, Row, timed
from kybern.api.core_v1 import Service, ServicePort, ServiceSpec
from kybern.api.discovery_v1 import Endpoint, EndpointConditions, EndpointPort, EndpointSlice
from kybern.api.meta_v1 import ObjectMeta
from kybern.proxy.model import SERVICE_NAME, service_ports
from kybern.proxy.restore import changes
from kybern.proxy.rules import Settings, Tables, render

SERVICES, ROUNDS = 1000, 20
SETTINGS = Settings(pod_cidr="10.244.0.0/16")


def service(number: int) -> Service:
    ports = (ServicePort(name="http", port=80, protocol="TCP"),)
    spec = ServiceSpec(type="ClusterIP", cluster_ip=f"10.96.{number // 250}.{number % 250 + 1}", ports=ports)
    return Service(metadata=ObjectMeta(namespace="default", name=f"s{number}"), spec=spec)


def endpoints(number: int, last: int = 1) -> EndpointSlice:
    addresses = (f"10.244.{number // 250}.{number % 250 + 1}", f"10.244.{100 + number // 250}.{last}")
    ready = EndpointConditions(ready=True, serving=True, terminating=False)
    return EndpointSlice(
        metadata=ObjectMeta(namespace="default", name=f"s{number}-x", labels={SERVICE_NAME: f"s{number}"}),
        address_type="IPv4",
        endpoints=tuple(Endpoint(addresses=(one,), conditions=ready, node_name="n") for one in addresses),
        ports=(EndpointPort(name="http", port=8080, protocol="TCP"),),
    )


def rows() -> Iterable[Row]:
    services = [service(number) for number in range(SERVICES)]
    slices = [endpoints(number) for number in range(SERVICES)]
    applied = wanted(services, slices)
    present = {name: set(chains) for name, chains in applied.by_name().items()}

    def one_endpoint(number: int) -> None:
        changed = [*slices[1:], endpoints(0, 2 + number)]
        if not changes(wanted(services, changed), applied.by_name(), present):
            raise ValueError("a changed endpoint has to change the rules")

    def everything(_number: int) -> None:
        changes(wanted(services, slices), None, present)

    yield timed("rules of 1,000 services, one endpoint changed", ROUNDS, one_endpoint)
    yield timed("rules of 1,000 services, all written", ROUNDS, everything)


def wanted(services: list[Service], slices: list[EndpointSlice]) -> Tables:
    return render(service_ports(services, slices, "n"), SETTINGS)


BENCHMARKS = (Benchmark("proxy", rows),)
