"""Endpoints and EndpointSlices of services."""

from typing import Any

import pytest

from kybern.api.core_v1 import ContainerPort, Endpoints, Node, Pod, Service, ServicePort, ServiceSpec
from kybern.api.discovery_v1 import EndpointSlice
from kybern.api.meta_v1 import ObjectMeta
from kybern.controllers import endpoints, endpointslice
from kybern.loop.controller import Create, Delete, Key, Patch, WhenChanged
from kybern.loop.services import port_of, services_of
from kybern.loop.settings import Settings
from kybern.machinery.struct import replace
from tests.unit.controllers.making import LABELS, NOW, only, pod, view

ENDPOINTS = endpoints.controller(Settings())
SLICES = endpointslice.controller(Settings(max_endpoints_per_slice=3))


def service(*ports: Any, **spec: Any) -> Service:
    wanted: dict[str, Any] = {
        "selector": LABELS,
        "cluster_ip": "10.96.0.10",
        "ip_families": ("IPv4",),
        "ports": tuple(
            ServicePort(name=f"p{port}", port=80, target_port=port, protocol="TCP")
            for port in ports or (8080,)
        ),
    }
    return Service(
        metadata=ObjectMeta(name="web", namespace="a", uid="svc", labels={"team": "x"}),
        spec=ServiceSpec(**{**wanted, **spec}),
    )


def serving(number: int, *, ready: bool = True, **more: Any) -> Pod:
    return pod(f"pod-{number}", ready=ready, node="n1", ip=f"10.244.0.{number}", **more)


def done(controller: Any, *objects: Any) -> list[Any]:
    """What a controller does when these are there, and the node of the pods where no node is said."""
    nodes = [] if any(isinstance(one, Node) for one in objects) else [Node(metadata=ObjectMeta(name="n1"))]
    found = controller.observe(view(controller, *objects, *nodes), Key("a", "web"))
    return [] if found is None else list(controller.diff(found))


def subsets(*objects: Any) -> list[tuple[list[str], list[str], list[int]]]:
    made = only(done(ENDPOINTS, *objects), Create)[0].object
    return [
        (
            [one.ip for one in subset.addresses],
            [one.ip for one in subset.not_ready_addresses],
            [port.port for port in subset.ports],
        )
        for subset in made.subsets
    ]


def test_ready_and_unready_addresses_are_told_apart() -> None:
    assert subsets(service(), serving(2), serving(1), serving(3, ready=False)) == [
        (["10.244.0.1", "10.244.0.2"], ["10.244.0.3"], [8080])
    ]


def test_unready_addresses_may_be_published() -> None:
    assert subsets(service(publish_not_ready_addresses=True), serving(1, ready=False)) == [
        (["10.244.0.1"], [], [8080])
    ]


@pytest.mark.parametrize("phase", ["Failed", "Succeeded"])
def test_finished_pods_have_no_endpoint(phase: str) -> None:
    ended = serving(1)

    assert subsets(service(), replace(ended, status=replace(ended.status, phase=phase))) == []


def test_named_ports_follow_the_pods() -> None:
    def named(number: int, port: int) -> Pod:
        one = serving(number)
        container = replace(
            one.spec.containers[0], ports=(ContainerPort(name="http", container_port=port, protocol="TCP"),)
        )
        return replace(one, spec=replace(one.spec, containers=(container,)))

    assert subsets(service("http"), named(1, 80), named(2, 81)) == [
        (["10.244.0.1"], [], [80]),
        (["10.244.0.2"], [], [81]),
    ]
    assert port_of(serving(1), ServicePort(port=80, target_port="http")) is None
    assert port_of(serving(1), ServicePort(port=80)) == 80


@pytest.mark.parametrize("controller", [ENDPOINTS, SLICES])
def test_services_without_a_selector_are_somebody_elses(controller: Any) -> None:
    assert done(controller, service(selector={}), serving(1)) == []


def test_endpoints_go_with_their_service() -> None:
    left = Endpoints(metadata=ObjectMeta(name="web", namespace="a"))

    assert done(ENDPOINTS, left) == [Delete(left)]


def test_endpoints_that_never_had_a_service_are_not_looked_at() -> None:
    """Somebody makes them first, or the watch of services is behind that of endpoints; what we wrote is ours to remove."""
    left = Endpoints(metadata=ObjectMeta(name="web", namespace="a"))
    ours = replace(left, metadata=replace(left.metadata, labels={endpoints.MANAGED_BY: endpoints.MANAGER}))
    key = Key("a", "web")

    assert list(endpoints.itself(left, view(ENDPOINTS, left))) == []
    assert list(endpoints.itself(left, view(ENDPOINTS, left, service()))) == [key]
    assert list(endpoints.itself(ours, view(ENDPOINTS, ours))) == [key]


def test_endpoints_that_are_right_are_left_alone() -> None:
    objects = (service(), serving(1))
    made = done(ENDPOINTS, *objects)[0].object

    # What the annotation measures from is no reason to write.
    assert done(ENDPOINTS, *objects, made) == []


def test_at_most_a_thousand_addresses_are_written_and_this_is_told() -> None:
    pods = [
        pod(f"p{number}", ready=number % 2 == 0, node="n", ip=f"10.244.{number // 250}.{number % 250}")
        for number in range(1200)
    ]

    made = done(ENDPOINTS, service(), *pods)[0].object

    assert sum(len(one.addresses) for one in made.subsets) == 600
    assert sum(len(one.not_ready_addresses) for one in made.subsets) == 400
    assert made.metadata.annotations["endpoints.kubernetes.io/over-capacity"] == "truncated"


def test_headless_services_say_so_and_need_no_ports() -> None:
    made = done(ENDPOINTS, service(cluster_ip="None", ports=()), serving(1))[0].object

    assert made.metadata.labels["service.kubernetes.io/headless"] == ""
    assert [one.ip for one in made.subsets[0].addresses] == ["10.244.0.1"]


def slices(*objects: Any) -> list[EndpointSlice]:
    return [action.object for action in only(done(SLICES, *objects), Create)]


def test_a_slice_bears_its_service_and_its_maker() -> None:
    made = slices(service(), serving(1))[0]

    assert made.metadata.name.startswith("web-")
    assert made.metadata.generate_name == "web-"
    assert made.metadata.labels == {
        "team": "x",
        "kubernetes.io/service-name": "web",
        "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io",
    }
    assert made.metadata.owner_references[0].uid == "svc"
    assert made.address_type == "IPv4"


@pytest.mark.parametrize(
    ("ready", "going", "publish", "result"),
    [
        (True, False, False, (True, True, False)),
        (False, False, False, (False, False, False)),
        (True, True, False, (False, True, True)),
        (False, False, True, (True, False, False)),
    ],
)
def test_conditions_of_an_endpoint(
    ready: bool, going: bool, publish: bool, result: tuple[bool, bool, bool]
) -> None:
    one = serving(1, ready=ready)
    if going:
        one = replace(one, metadata=replace(one.metadata, deletion_timestamp=NOW))

    found = slices(service(publish_not_ready_addresses=publish), one)[0].endpoints[0].conditions

    assert found is not None
    assert (found.ready, found.serving, found.terminating) == result


def test_endpoints_show_node_and_zone() -> None:
    node = Node(metadata=ObjectMeta(name="n1", labels={"topology.kubernetes.io/zone": "z1"}))

    found = slices(service(), serving(1), node)[0].endpoints[0]

    assert (found.node_name, found.zone) == ("n1", "z1")


def test_a_pod_whose_node_is_gone_is_an_endpoint_only_where_those_that_are_not_ready_count() -> None:
    other = Node(metadata=ObjectMeta(name="n2"))

    assert slices(service(), serving(1), other)[0].endpoints == ()
    published = slices(service(publish_not_ready_addresses=True), serving(1), other)[0].endpoints
    assert [one.addresses for one in published] == [("10.244.0.1",)]


def test_a_node_that_comes_or_goes_wakes_the_services_of_its_pods() -> None:
    node = Node(metadata=ObjectMeta(name="n1"))
    (watched,) = (
        how
        for kind, how in SLICES.watches
        if kind is Node and isinstance(how, WhenChanged) and how.wakes is endpointslice.services_on
    )

    assert list(watched(node, view(SLICES, service(), serving(1)))) == [Key("a", "web")]


def test_many_endpoints_need_several_slices() -> None:
    assert sorted(len(one.endpoints) for one in slices(service(), *map(serving, range(1, 8)))) == [1, 3, 3]


def test_a_change_touches_only_the_slice_that_it_is_in() -> None:
    pods = list(map(serving, range(1, 7)))
    made = slices(service(), *pods)
    gone = made[0].endpoints[1].target_ref
    assert gone is not None
    left = [one for one in pods if one.metadata.uid != gone.uid]

    actions = done(SLICES, service(), *left, *made)

    assert [(type(action), action.old.metadata.name, len(action.new.endpoints)) for action in actions] == [
        (Patch, made[0].metadata.name, 2)
    ]


def test_new_endpoints_fill_slices_that_have_room() -> None:
    pods = list(map(serving, range(1, 6)))
    made = slices(service(), *pods)

    actions = done(SLICES, service(), *pods, serving(9), *made)

    assert [(type(action), len(action.new.endpoints)) for action in actions] == [(Patch, 3)]


def test_the_last_slice_stays_when_it_is_empty_and_others_go() -> None:
    made = slices(service(), *map(serving, range(1, 5)))

    actions = done(SLICES, service(ports=()), *made)

    assert sorted(type(action).__name__ for action in actions) == ["Create", "Delete", "Delete"]


def test_slices_that_are_right_are_left_alone() -> None:
    objects = (service(), *map(serving, range(1, 8)))

    assert done(SLICES, *objects, *slices(*objects)) == []


def test_slices_of_others_are_not_touched() -> None:
    foreign = EndpointSlice(
        metadata=ObjectMeta(name="web-x", namespace="a", labels={"kubernetes.io/service-name": "web"})
    )

    assert [type(action) for action in done(SLICES, service(), serving(1), foreign)] == [Create]


def test_a_pod_wakes_the_services_that_select_it() -> None:
    found = view(
        ENDPOINTS,
        service(),
        replace(service(selector={"app": "other"}), metadata=ObjectMeta(name="other", namespace="a")),
    )

    assert list(services_of(serving(1), found)) == [Key("a", "web")]


def test_traffic_distribution_changes_hints_of_slices_that_are_there() -> None:
    """Hints come with the wish, are for ready endpoints only, and go with it."""
    node = Node(metadata=ObjectMeta(name="n1", labels={"topology.kubernetes.io/zone": "z1"}))
    pods = (serving(1), serving(2, ready=False))
    made = only(done(SLICES, service(), *pods, node), Create)[0].object
    assert [one.hints for one in made.endpoints] == [None, None]
    wish = service(traffic_distribution="PreferSameNode")
    hinted = only(done(SLICES, wish, *pods, node, made), Patch)[0].new
    by_address = {one.addresses[0]: one.hints for one in hinted.endpoints}
    assert by_address["10.244.0.2"] is None
    hints = by_address["10.244.0.1"]
    assert ([z.name for z in hints.for_zones], [n.name for n in hints.for_nodes]) == (["z1"], ["n1"])
    assert done(SLICES, wish, *pods, node, hinted) == []
    back = only(done(SLICES, service(), *pods, node, hinted), Patch)[0].new
    assert [one.hints for one in back.endpoints] == [None, None]
