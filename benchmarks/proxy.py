"""What kube-proxy spends on 10,000 services of five endpoints each, in this process: model, rules, difference."""

from collections.abc import Iterable

from benchmarks.measure import Benchmark, Row, timed
from kybern.api.core_v1 import Service, ServicePort, ServiceSpec
from kybern.api.discovery_v1 import Endpoint, EndpointConditions, EndpointPort, EndpointSlice
from kybern.api.meta_v1 import ObjectMeta
from kybern.proxy.model import SERVICE_NAME
from kybern.proxy.restore import touched
from kybern.proxy.rules import Settings
from kybern.proxy.ruleset import Ruleset
from kybern.proxy.state import State
from kybern.proxy.topology import Place

SERVICES, ROUNDS = 10_000, 50
SETTINGS = Settings(pod_cidr="10.244.0.0/16")


def service(number: int) -> Service:
    ports = (ServicePort(name="http", port=80, protocol="TCP"),)
    spec = ServiceSpec(type="ClusterIP", cluster_ip=f"10.96.{number // 250}.{number % 250 + 1}", ports=ports)
    return Service(metadata=ObjectMeta(namespace="default", name=f"s{number}"), spec=spec)


def endpoints(number: int, last: int = 1) -> EndpointSlice:
    addresses = [f"10.{200 + at}.{number // 250}.{number % 250 + 1}" for at in range(4)] + [
        f"10.244.0.{last}"
    ]
    ready = EndpointConditions(ready=True, serving=True, terminating=False)
    return EndpointSlice(
        metadata=ObjectMeta(namespace="default", name=f"s{number}-x", labels={SERVICE_NAME: f"s{number}"}),
        address_type="IPv4",
        endpoints=tuple(Endpoint(addresses=(one,), conditions=ready, node_name="n") for one in addresses),
        ports=(EndpointPort(name="http", port=8080, protocol="TCP"),),
    )


def rows() -> Iterable[Row]:
    state, rules = State(Place("n")), Ruleset(SETTINGS)

    def render() -> str:
        for key in state.take():
            rules.put(key, state.ports(key))
        return touched(rules, rules.take())

    def fill(_number: int) -> None:
        nonlocal state, rules
        state, rules = State(Place("n")), Ruleset(SETTINGS)
        state.sync(Service, [service(number) for number in range(SERVICES)])
        state.sync(EndpointSlice, [endpoints(number) for number in range(SERVICES)])
        render()

    yield timed("rules of 10,000 services of 5 endpoints, all written", 2, fill)

    def one_endpoint(number: int) -> None:
        state.put(endpoints(0, 2 + number), None)
        if not render():
            raise ValueError("a changed endpoint has to change the rules")

    def one_service(number: int) -> None:
        state.put(service(SERVICES + number), None)
        state.put(endpoints(SERVICES + number), None)
        if not render():
            raise ValueError("a new service has to change the rules")

    yield timed("the same, one endpoint changed", ROUNDS, one_endpoint)
    yield timed("the same, one service more", ROUNDS, one_service)


BENCHMARKS = (Benchmark("proxy", rows),)
