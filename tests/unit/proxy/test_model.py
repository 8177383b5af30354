"""Services and slices become ports: which are served, and who answers."""

from kybern.api.core_v1 import Service, ServicePort, ServiceSpec
from kybern.api.discovery_v1 import Endpoint as SliceEndpoint
from kybern.api.discovery_v1 import EndpointConditions, EndpointPort, EndpointSlice
from kybern.api.meta_v1 import ObjectMeta
from kybern.machinery.struct import replace
from kybern.proxy.model import Endpoint, service_ports, usable

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


def test_slices_of_other_services_ports_and_families_do_not_count() -> None:
    elsewhere = replace(SLICE, metadata=replace(SLICE.metadata, namespace="other"))
    udp = replace(SLICE, ports=(EndpointPort(name="http", port=8080, protocol="UDP"),))
    six = replace(SLICE, address_type="IPv6")

    (port,) = service_ports([WEB], [elsewhere, udp, six], "n1")

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
