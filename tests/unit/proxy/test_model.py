"""Services and slices become ports: which are served, and who answers."""

from collections.abc import Sequence

import pytest

from kybern.api.core_v1 import Service, ServicePort, ServiceSpec
from kybern.api.discovery_v1 import Endpoint as SliceEndpoint
from kybern.api.discovery_v1 import (
    EndpointConditions,
    EndpointHints,
    EndpointPort,
    EndpointSlice,
    ForNode,
    ForZone,
)
from kybern.api.meta_v1 import ObjectMeta
from kybern.machinery.struct import replace
from kybern.proxy.model import Endpoint, preferred, usable
from kybern.proxy.model import ServicePort as Port
from kybern.proxy.model import service_ports as ports_of
from kybern.proxy.topology import Place

WEB = Service(
    metadata=ObjectMeta(namespace="default", name="web"),
    spec=ServiceSpec(
        type="ClusterIP", cluster_ip="10.96.0.10", ports=(ServicePort(name="http", port=80, protocol="TCP"),)
    ),
)
SLICE = EndpointSlice(
    metadata=ObjectMeta(namespace="default", name="web-1", labels={"kubernetes.io/service-name": "web"}),
    address_type="IPv4",
    ports=(EndpointPort(name="http", port=8080, protocol="TCP"),),
    endpoints=(
        SliceEndpoint(addresses=("10.244.1.2",), node_name="n1", conditions=EndpointConditions(ready=True)),
        SliceEndpoint(addresses=("10.244.2.2",), node_name="n2", conditions=EndpointConditions(ready=False)),
    ),
)


def service_ports(
    services: Sequence[Service], slices: Sequence[EndpointSlice], node: str, zone: str = ""
) -> tuple[Port, ...]:
    return tuple(port for service in services for port in ports_of(service, slices, Place(node, zone)))


def spec(**changes: object) -> Service:
    return replace(WEB, spec=replace(WEB.spec, **changes))


def test_a_service_gets_the_endpoints_of_its_slices() -> None:
    (port,) = service_ports([WEB], [SLICE], "n1")

    assert (port.title, port.cluster_ip, port.port) == ("default/web:http", "10.96.0.10", 80)
    assert [(one.address, one.local, one.ready) for one in port.endpoints] == [
        ("10.244.1.2:8080", True, True),
        ("10.244.2.2:8080", False, False),
    ]


def test_headless_and_external_name_services_are_left_alone() -> None:
    headless, named = spec(cluster_ip="None"), spec(type="ExternalName", cluster_ip="")
    other = replace(
        WEB, metadata=replace(WEB.metadata, labels={"service.kubernetes.io/service-proxy-name": "x"})
    )

    assert service_ports([headless, named, other], [SLICE], "n1") == ()


def test_slices_of_other_ports_and_families_do_not_count() -> None:
    udp = replace(SLICE, ports=(EndpointPort(name="http", port=8080, protocol="UDP"),))
    six = replace(SLICE, address_type="IPv6")

    (port,) = service_ports([WEB], [udp, six], "n1")

    assert port.endpoints == ()


def test_an_endpoint_in_two_slices_counts_once() -> None:
    (port,) = service_ports([WEB], [SLICE, SLICE], "n1")

    assert len(port.endpoints) == 2


def test_a_node_port_counts_only_where_the_type_has_one() -> None:
    ports = (ServicePort(name="http", port=80, node_port=30080, protocol="TCP"),)

    (inside,) = service_ports([spec(ports=ports)], [], "n1")
    (outside,) = service_ports([spec(ports=ports, type="NodePort")], [], "n1")

    assert (inside.node_port, outside.node_port) == (0, 30080)


def test_affinity_without_a_time_lasts_three_hours() -> None:
    (port,) = service_ports([spec(session_affinity="ClientIP")], [], "n1")

    assert port.affinity == 10800


def test_ending_endpoints_serve_only_when_no_ready_one_is_left() -> None:
    ready = Endpoint("10.0.0.1", 80)
    ending = Endpoint("10.0.0.2", 80, ready=False, serving=True, terminating=True)
    broken = Endpoint("10.0.0.3", 80, ready=False, serving=False)

    assert usable([ready, ending, broken]) == (ready,)
    assert usable([ending, broken]) == (ending,)
    assert usable([broken]) == ()


def hinted(
    address: str, node: str, zones: tuple[str, ...] = (), nodes: tuple[str, ...] = ()
) -> SliceEndpoint:
    names = tuple(ForZone(name=zone) for zone in zones), tuple(ForNode(name=each) for each in nodes)
    found = EndpointHints(for_zones=names[0], for_nodes=names[1])
    return SliceEndpoint(
        addresses=(address,), node_name=node, hints=found, conditions=EndpointConditions(ready=True)
    )


ZONES = (hinted("10.0.0.1", "n1", zones=("a",)), hinted("10.0.0.2", "n2", zones=("b",)))
NODES = (
    hinted("10.0.0.1", "n1", zones=("a",), nodes=("n1",)),
    hinted("10.0.0.2", "n2", zones=("a",), nodes=("n2",)),
)
ONE_WITHOUT = (*ZONES, hinted("10.0.0.3", "n3"))


@pytest.mark.parametrize(
    ("endpoints", "node", "zone", "used"),
    [
        (ZONES, "n1", "a", {"10.0.0.1"}),
        (ZONES, "n9", "b", {"10.0.0.2"}),
        (ZONES, "n9", "c", {"10.0.0.1", "10.0.0.2"}),
        (ZONES, "n1", "", {"10.0.0.1", "10.0.0.2"}),
        (ONE_WITHOUT, "n1", "a", {"10.0.0.1", "10.0.0.2", "10.0.0.3"}),
        (NODES, "n1", "", {"10.0.0.1"}),
        (NODES, "n9", "a", {"10.0.0.1", "10.0.0.2"}),
    ],
)
def test_hints_count_where_all_have_them_and_one_is_for_here(
    endpoints: tuple[SliceEndpoint, ...], node: str, zone: str, used: set[str]
) -> None:
    (port,) = service_ports([WEB], [replace(SLICE, endpoints=endpoints)], node, zone)

    assert {one.ip for one in preferred(port.endpoints)} == used


def test_hints_do_not_count_for_endpoints_that_end() -> None:
    ending = Endpoint("10.0.0.2", 80, ready=False, serving=True, terminating=True, near=False)

    assert preferred([ending]) == (ending,)


def test_load_balancers_ask_only_where_traffic_stays_on_the_node() -> None:
    facts = {"type": "LoadBalancer", "health_check_node_port": 31000}

    (cluster,) = service_ports([spec(**facts)], [SLICE], "n1")
    (local,) = service_ports([spec(**facts, external_traffic_policy="Local")], [SLICE], "n1")

    assert (cluster.health_check_port, local.health_check_port) == (0, 31000)


BOTH = spec(cluster_ips=("10.96.0.10", "fd00:96::a"), external_ips=("192.0.2.1", "fd00::1"))
SIX = replace(SLICE, address_type="IPv6", endpoints=(SliceEndpoint(addresses=("fd00:244::2",)),))


def test_a_service_of_both_families_is_served_in_each_by_its_own_endpoints() -> None:
    four, six = ports_of(BOTH, [SLICE, SIX], Place("n1"), (4, 6))

    assert (four.cluster_ip, four.external_ips, len(four.endpoints)) == ("10.96.0.10", ("192.0.2.1",), 2)
    assert (six.cluster_ip, six.external_ips) == ("fd00:96::a", ("fd00::1",))
    assert [one.address for one in six.endpoints] == ["[fd00:244::2]:8080"]


def test_families_that_are_not_served_are_left_alone() -> None:
    assert [one.cluster_ip for one in ports_of(BOTH, [SLICE, SIX], Place("n1"))] == ["10.96.0.10"]


def test_an_endpoint_of_which_nobody_says_where_it_is_may_be_here() -> None:
    ((one,),) = (port.endpoints for port in ports_of(BOTH, [SIX], Place("n1"), (6,)))

    assert (one.local, one.unplaced) == (False, True)
