"""Ranges of cluster IPs: held while they are used, and said to be ready."""

from datetime import datetime
from typing import Any

import pytest

from kybern.api.meta_v1 import Condition, ObjectMeta
from kybern.api.networking_v1 import IPAddress, ServiceCIDR, ServiceCIDRSpec, ServiceCIDRStatus
from kybern.controllers import service_cidr
from kybern.loop.controller import Again, Key, Patch, PatchStatus
from kybern.loop.settings import Settings
from kybern.machinery.struct import Object, replace
from tests.unit.controllers.making import NOW, ago, view

CONTROLLER = service_cidr.controller(Settings())
FINALIZER = "networking.k8s.io/service-cidr-finalizer"
READY = Condition(
    type="Ready", status="True", message="Kubernetes Service CIDR is ready", last_transition_time=ago(60)
)


def cidr(*ranges: str, name: str = "mine", held: bool = True, going: datetime | None = None) -> ServiceCIDR:
    return ServiceCIDR(
        metadata=ObjectMeta(name=name, finalizers=(FINALIZER,) if held else (), deletion_timestamp=going),
        spec=ServiceCIDRSpec(cidrs=ranges),
        status=ServiceCIDRStatus(conditions=(READY,)),
    )


def address(ip: str, manager: str = "ipallocator.k8s.io") -> IPAddress:
    return IPAddress(metadata=ObjectMeta(name=ip, labels={"ipaddress.kubernetes.io/managed-by": manager}))


def done(mine: ServiceCIDR, *others: Object) -> list[Any]:
    state = CONTROLLER.observe(view(CONTROLLER, mine, *others), Key("", "mine"))
    assert state is not None
    return list(CONTROLLER.diff(state))


def test_a_new_range_is_held_first_and_then_ready() -> None:
    new = replace(cidr("10.0.0.0/24", held=False), status=ServiceCIDRStatus())
    (hold,) = done(new)
    (ready,) = done(hold.new)

    assert hold.new.metadata.finalizers == (FINALIZER,)
    assert (type(hold), type(ready)) == (Patch, PatchStatus)
    assert ready.new.status.conditions == (replace(READY, last_transition_time=NOW),)
    assert done(ready.new) == []


@pytest.mark.parametrize(
    ("ranges", "others", "free"),
    [
        (("10.0.0.0/24",), (), True),
        (("10.0.0.0/24",), (address("10.0.0.1"),), False),
        (("10.0.0.0/24",), (address("10.0.0.1", manager="somebody"),), True),
        (("10.0.0.0/24",), (address("10.0.1.1"), address("fd00::1")), True),
        (("10.0.0.0/24",), (address("10.0.0.1"), cidr("10.0.0.0/16", name="large")), True),
        (("10.0.0.0/24",), (address("10.0.0.1"), cidr("10.0.0.0/24", name="twin")), True),
        (("10.0.0.0/24",), (address("10.0.0.1"), cidr("10.0.0.0/28", name="small")), True),
        (("10.0.0.0/24",), (address("10.0.0.99"), cidr("10.0.0.0/28", name="small")), False),
        (("10.0.0.0/24", "fd00::/64"), (address("fd00::1"), cidr("10.0.0.0/16", name="large")), False),
        (("10.0.0.0/24", "fd00::/64"), (address("10.0.0.1"), cidr("10.0.0.0/16", name="large")), True),
    ],
)
def test_a_range_goes_when_no_address_is_in_it_alone(
    ranges: tuple[str, ...], others: tuple[Object, ...], *, free: bool
) -> None:
    (action,) = done(cidr(*ranges, going=ago(11)), *others)

    if free:
        assert action.new.metadata.finalizers == ()
    else:
        (ready,) = action.new.status.conditions
        assert (ready.status, ready.reason) == ("False", "Terminating")
        assert ready.message.startswith("There are still IPAddresses referencing the ServiceCIDR")
        assert done(action.new, *others) == []


def test_it_waits_until_every_server_knows() -> None:
    assert done(cidr("10.0.0.0/24", going=ago(4))) == [Again(6.0)]


def test_what_somebody_else_holds_is_not_looked_at() -> None:
    assert done(cidr("10.0.0.0/24", held=False, going=ago(60)), address("10.0.0.1")) == []
