"""What becomes of nodes, by what their machines are."""

from dataclasses import replace as changed
from typing import Any

import pytest

from kybern.api.core_v1 import Node, NodeAddress
from kybern.api.taints import SHUTDOWN, UNINITIALIZED
from kybern.cloud import node as cloud_node
from kybern.cloud import node_lifecycle
from kybern.cloud.addresses import Mismatch, addresses_of
from kybern.cloud.errands import FindInstance
from kybern.cloud.marks import PROVIDED_IP
from kybern.cloud.node import OLD_ZONE, REGION, TYPE, ZONE, Observer
from kybern.cloud.provider import Instance, Zone
from kybern.cloud.settings import CloudSettings
from kybern.loop.controller import Again, Delete, Emit, Failure, Key, Patch, PatchStatus
from kybern.machinery.errors import ServiceUnavailable
from tests.unit.cloud.making import FakeCloud, instance, node
from tests.unit.controllers.making import ago, every, view

OTHER = "node-role.kubernetes.io/control-plane"
INTERNAL = NodeAddress(type="InternalIP", address="10.0.0.1")
SECOND = NodeAddress(type="InternalIP", address="10.9.0.1")
OUTSIDE = NodeAddress(type="ExternalIP", address="192.0.2.1")
HOST = NodeAddress(type="Hostname", address="n1")


def patched(state: Any) -> Node:
    """What the first patch of a round makes of the node."""
    new = next(one.new for one in every(cloud_node.diff(state)) if isinstance(one, Patch))
    assert isinstance(new, Node)
    return new


def test_a_node_that_waits_gets_all_in_the_write_that_lets_pods_onto_it() -> None:
    machine = instance(
        instance_type="cpu2-mem4096", labels={"example.com/row": "7", "x.kubernetes.io/no": "1"}
    )
    waiting = node("n1", UNINITIALIZED, OTHER, labels={"a": "b"})

    new = patched(cloud_node.State(waiting, machine, Zone("rack-1", "home")))

    assert new.spec.provider_id == "fake://zone/1"
    assert [taint.key for taint in new.spec.taints] == [OTHER]
    labels = new.metadata.labels
    assert (labels[TYPE], labels[ZONE], labels[OLD_ZONE], labels[REGION]) == (
        "cpu2-mem4096", "rack-1", "rack-1", "home",
    )  # fmt: skip
    assert labels["example.com/row"] == "7"
    assert "x.kubernetes.io/no" not in labels
    assert labels["a"] == "b"


def test_a_provider_id_that_is_there_stays() -> None:
    waiting = node("n1", UNINITIALIZED, provider_id="fake://other/2")
    assert patched(cloud_node.State(waiting, instance())).spec.provider_id == "fake://other/2"


def test_a_node_whose_machine_nobody_knows_goes_on_waiting() -> None:
    assert [type(one) for one in cloud_node.diff(cloud_node.State(node("n1", UNINITIALIZED)))] == [Again]


def test_a_node_whose_machine_has_no_provider_id_yet_goes_on_waiting() -> None:
    """It is written once only: upstream lets no pods onto a node without it (kubernetes/kubernetes#123713)."""
    nameless = Instance("")
    assert [type(one) for one in cloud_node.diff(cloud_node.State(node("n1", UNINITIALIZED), nameless))] == [
        Again
    ]
    told = node("n1", UNINITIALIZED, provider_id="fake://other/2")
    assert patched(cloud_node.State(told, nameless)).spec.provider_id == "fake://other/2"


def test_a_node_with_an_address_that_is_not_its_machine_s_goes_on_waiting_and_it_is_told() -> None:
    waiting = node("n1", UNINITIALIZED, annotations={PROVIDED_IP: "10.0.0.9"})
    event, again = every(cloud_node.diff(cloud_node.State(waiting, instance(addresses=(INTERNAL,)))))

    assert isinstance(again, Again)
    assert event.message == "failed to get node address from cloud provider that matches ip: 10.0.0.9"


@pytest.mark.parametrize(
    ("provided", "given", "found"),
    [
        ("", (INTERNAL,), (INTERNAL, HOST)),
        ("", (INTERNAL, NodeAddress(type="Hostname", address="x")), (INTERNAL, NodeAddress(type="Hostname", address="x"))),
        ("10.9.0.1", (INTERNAL, SECOND, OUTSIDE), (SECOND, OUTSIDE, HOST)),
        ("10.0.0.1,fd00::1", (OUTSIDE, NodeAddress(type="InternalIP", address="fd00:0::1"), SECOND, INTERNAL),
         (INTERNAL, NodeAddress(type="InternalIP", address="fd00:0::1"), OUTSIDE, HOST)),
    ],
)  # fmt: skip
def test_the_address_that_the_kubelet_was_told_comes_first(
    provided: str, given: tuple[NodeAddress, ...], found: tuple[NodeAddress, ...]
) -> None:
    annotations = {PROVIDED_IP: provided} if provided else {}
    assert addresses_of(node("n1", annotations=annotations), given) == found


def test_an_address_that_the_machine_does_not_have_is_refused() -> None:
    with pytest.raises(Mismatch):
        addresses_of(node("n1", annotations={PROVIDED_IP: "10.0.0.2"}), (INTERNAL,))


def test_addresses_follow_the_machine_and_rest() -> None:
    machine = instance(addresses=(INTERNAL, OUTSIDE))
    (change,) = every(cloud_node.diff(cloud_node.State(node(), machine)))

    assert isinstance(change, PatchStatus)
    assert isinstance(change.new, Node)
    assert change.new.status.addresses == (INTERNAL, OUTSIDE, HOST)
    assert every(cloud_node.diff(cloud_node.State(change.new, machine))) == []


def test_the_newer_name_of_a_label_follows_the_older() -> None:
    labels = {OLD_ZONE: "rack-2", ZONE: "rack-1"}
    assert patched(cloud_node.State(node(labels=labels))).metadata.labels[ZONE] == "rack-2"


def test_a_node_that_does_not_wait_is_asked_for_once_in_a_while() -> None:
    asked: list[str] = []

    def answer(question: tuple[Any, ...]) -> Instance:
        asked.append(question[0].node)
        return instance()

    cloud = FakeCloud()
    observer = Observer(cloud, cloud, 300)
    controller = changed(cloud_node.controller(cloud, cloud, CloudSettings()), observe=observer.observe)
    for seconds in (900, 700, 500, 301):
        observer.observe(view(controller, node(), live=answer, now=ago(seconds)), Key("", "n1"))
    assert len(asked) == 2
    for waits in (True, True, False, False):
        seen = node("n2", *((UNINITIALIZED,) if waits else ()))
        observer.observe(view(controller, seen, live=answer), Key("", "n2"))
    assert asked[2:] == ["n2", "n2", "n2", "n2"]  # its zone, too, and no more once it does not wait


LIFECYCLE = [
    pytest.param(node(), "ready", [], id="ready and marked by nobody"),
    pytest.param(node("n1", SHUTDOWN), "ready", [Patch], id="ready again"),
    pytest.param(node(ready="Unknown"), None, [Emit, Delete], id="gone"),
    pytest.param(node(ready="False"), None, [Emit, Delete], id="gone, and said before that it was not well"),
    pytest.param(node(ready="Unknown"), instance(), [], id="silent, and runs"),
    pytest.param(node(ready="Unknown"), instance(running=False), [Patch], id="switched off"),
    pytest.param(node("n1", SHUTDOWN, ready="Unknown"), instance(running=False), [], id="marked already"),
    pytest.param(node("n1", SHUTDOWN, ready="Unknown"), instance(), [], id="starts, and is not ready yet"),
]


@pytest.mark.parametrize(("found", "machine", "actions"), LIFECYCLE)
def test_a_node_goes_or_is_marked_by_what_its_machine_is(
    found: Node, machine: Any, actions: list[type]
) -> None:
    ready = machine == "ready"
    state = node_lifecycle.State(found, ready, None if ready else machine)
    assert [type(one) for one in node_lifecycle.diff(state)] == actions


def test_a_node_that_could_not_be_deleted_is_told_of_and_tried_again() -> None:
    gone = node("n1", ready="False")
    failure = Failure(Delete(gone), ServiceUnavailable("no leader"))
    told, *others = every(node_lifecycle.diff(node_lifecycle.State(gone, ready=False, failure=failure)))

    assert told == Emit(gone, "Warning", "DeletingNodeFailed", "Failed deleting node n1: no leader")
    assert [type(one) for one in others] == [Emit, Delete]


def test_a_taint_of_others_stays() -> None:
    state = node_lifecycle.State(node("n1", OTHER, ready=""), ready=False, instance=instance(running=False))
    (patch,) = every(node_lifecycle.diff(state))
    assert [taint.key for taint in patch.new.spec.taints] == [OTHER, SHUTDOWN]


@pytest.mark.parametrize(
    ("found", "is_asked"),
    [
        (node(), False),
        (node(ready="False"), True),
        (node(ready=""), True),
        (node("n1", UNINITIALIZED, ready="", age=1), False),
        (node("n1", UNINITIALIZED, ready="", age=5), True),
        (node("n1", UNINITIALIZED, ready="", age=1, provider_id="fake://zone/1"), True),
    ],
)
def test_the_cloud_is_asked_for_nodes_that_are_not_ready(found: Node, *, is_asked: bool) -> None:
    cloud, asked = FakeCloud(), list[Any]()
    controller = node_lifecycle.controller(cloud, CloudSettings())

    def answer(question: tuple[Any, ...]) -> None:
        asked.append(question[0])

    controller.observe(view(controller, found, live=answer), Key("", "n1"))

    assert asked == ([FindInstance(cloud, "n1", found.spec.provider_id)] if is_asked else [])
