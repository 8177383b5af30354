"""Endpoints that people write, as slices."""

from typing import Any

import pytest

from kybern.api.core_v1 import (
    EndpointAddress,
    EndpointPort,
    Endpoints,
    EndpointSubset,
    ObjectReference,
    Service,
    ServiceSpec,
)  # fmt: skip
from kybern.api.discovery_v1 import EndpointSlice
from kybern.api.meta_v1 import ObjectMeta
from kybern.controllers import endpointslice_mirroring
from kybern.loop.controller import Create, Delete, Emit, Key
from kybern.loop.owners import controller_reference
from kybern.loop.services import TRIGGER
from kybern.loop.settings import Settings
from kybern.machinery.struct import Object, replace
from tests.unit.controllers.making import only, view

MIRROR = endpointslice_mirroring.controller(Settings(max_mirrored_endpoints=3))
SERVICE = Service(metadata=ObjectMeta(name="db", namespace="a"), spec=ServiceSpec())


def subset(*ips: str, waiting: tuple[str, ...] = (), port: int = 5432) -> EndpointSubset:
    return EndpointSubset(
        addresses=tuple(EndpointAddress(ip=ip) for ip in ips),
        not_ready_addresses=tuple(EndpointAddress(ip=ip) for ip in waiting),
        ports=(EndpointPort(name="sql", port=port, protocol="TCP"),),
    )


def written(*subsets: EndpointSubset, **metadata: Any) -> Endpoints:
    return Endpoints(metadata=ObjectMeta(name="db", namespace="a", uid="uid-db", **metadata), subsets=subsets)


def done(*objects: Object) -> list[Any]:
    state = MIRROR.observe(view(MIRROR, *objects), Key("a", "db"))
    return list(MIRROR.diff(state)) if state is not None else []


def made(*objects: Object) -> list[EndpointSlice]:
    return [action.object for action in only(done(*objects), Create)]


def shown(slices: list[Any]) -> list[tuple[str, list[int | None], list[tuple[str, bool]]]]:
    return [
        (
            one.address_type,
            [port.port for port in one.ports],
            [(item.addresses[0], bool(item.conditions and item.conditions.ready)) for item in one.endpoints],
        )
        for one in slices
    ]


def test_each_family_and_each_set_of_ports_has_a_slice() -> None:
    found = made(
        SERVICE, written(subset("10.0.0.1", "fd00::1", waiting=("10.0.0.2",)), subset("10.0.0.1", port=80))
    )

    assert shown(found) == [
        ("IPv4", [5432], [("10.0.0.1", True), ("10.0.0.2", False)]),
        ("IPv6", [5432], [("fd00::1", True)]),
        ("IPv4", [80], [("10.0.0.1", True)]),
    ]
    assert len({one.metadata.name for one in found}) == 3


def test_a_slice_says_whose_it_is_and_what_the_endpoints_say() -> None:
    labels = {"team": "x", "kubernetes.io/service-name": "other"}
    annotations = {"a": "b", TRIGGER: "t", "kubectl.kubernetes.io/last-applied-configuration": "{}"}
    address = EndpointAddress(
        ip="10.0.0.1", hostname="one", node_name="n1", target_ref=ObjectReference(kind="Pod", name="p")
    )
    endpoints = written(EndpointSubset(addresses=(address,)), labels=labels, annotations=annotations)
    (found,) = made(SERVICE, endpoints)
    (endpoint,) = found.endpoints

    assert found.metadata.labels == {
        "team": "x",
        "kubernetes.io/service-name": "db",
        "endpointslice.kubernetes.io/managed-by": "endpointslicemirroring-controller.k8s.io",
    }
    assert found.metadata.annotations == {"a": "b"}
    assert found.metadata.owner_references == (controller_reference(endpoints),)
    assert found.metadata.generate_name == "db-"
    assert (endpoint.hostname, endpoint.node_name, endpoint.target_ref) == ("one", "n1", address.target_ref)


def test_it_comes_to_rest() -> None:
    endpoints = written(subset("10.0.0.1", "fd00::1"), subset("10.0.0.2", port=80))

    assert done(SERVICE, endpoints, *made(SERVICE, endpoints)) == []


@pytest.mark.parametrize(
    "others",
    [
        (),
        (replace(SERVICE, spec=ServiceSpec(selector={"a": "b"})), written(subset("10.0.0.1"))),
        (written(subset("10.0.0.1")),),
        (SERVICE,),
        (SERVICE, written(subset("10.0.0.1"), labels={"endpointslice.kubernetes.io/skip-mirror": "true"})),
        (
            SERVICE,
            written(subset("10.0.0.1"), annotations={"control-plane.alpha.kubernetes.io/leader": "{}"}),
        ),
        (SERVICE, written()),
    ],
)
def test_slices_go_with_what_they_mirror(others: tuple[Object, ...]) -> None:
    (old,) = made(SERVICE, written(subset("10.0.0.1")))

    assert done(*others, old) == [Delete(old)]
    assert done(*others) == []


def test_a_change_changes_the_slice() -> None:
    (old,) = made(SERVICE, written(subset("10.0.0.1")))
    (patch,) = done(SERVICE, written(subset("10.0.0.1", "10.0.0.2"), labels={"team": "y"}), old)

    assert shown([patch.new]) == [("IPv4", [5432], [("10.0.0.1", True), ("10.0.0.2", True)])]
    assert patch.new.metadata.labels["team"] == "y"


def test_a_slice_is_used_for_other_ports_before_one_is_made() -> None:
    (old,) = made(SERVICE, written(subset("10.0.0.1")))
    (patch,) = done(SERVICE, written(subset("10.0.0.1", port=80)), old)

    assert (patch.old, shown([patch.new])) == (old, [("IPv4", [80], [("10.0.0.1", True)])])


def test_a_slice_does_not_change_its_family() -> None:
    (old,) = made(SERVICE, written(subset("10.0.0.1")))
    create, delete = done(SERVICE, written(subset("fd00::1")), old)

    assert (shown([create.object])[0][0], delete) == ("IPv6", Delete(old))


def test_what_is_left_out_is_said() -> None:
    endpoints = written(subset("10.0.0.1", "nonsense", "10.0.0.2", waiting=("10.0.0.3", "10.0.0.4")))
    events = [(one.reason, one.message) for one in only(done(SERVICE, endpoints), Emit)]

    assert events == [
        ("InvalidIPAddress", "Skipped 1 invalid IP addresses when mirroring to EndpointSlices"),
        (
            "TooManyAddressesToMirror",
            "A max of 3 addresses can be mirrored to EndpointSlices per Endpoints subset. 1 addresses were skipped",
        ),
    ]
    assert len(made(SERVICE, endpoints)[0].endpoints) == 3
