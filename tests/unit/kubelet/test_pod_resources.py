"""What programs of the node are told of what pods have, and how often."""

from collections.abc import Iterable

from google.protobuf.json_format import MessageToDict  # type: ignore[import-untyped]  # no stubs

from kybern.api.core_v1 import Container, Pod
from kybern.kubelet.devices.ledger import Given
from kybern.kubelet.dra.claims import Device, Prepared
from kybern.kubelet.memory.ledger import Block
from kybern.kubelet.pod_resources.serving import Limiter
from kybern.kubelet.pod_resources.told import Near, allocatable, as_alpha, pod_resources
from tests.unit.kubelet.making import container, pod

NAME = "example.com/knob"


class Held:
    """Container c of pod u1 has something of everything; others have nothing."""

    def cpus(self, uid: str, container: str) -> Iterable[int]:
        return (5, 1) if (uid, container) == ("u1", "c") else ()

    def memory(self, uid: str, container: str) -> Iterable[Block]:
        return (Block((0, 1), "memory", 64),) if (uid, container) == ("u1", "c") else ()

    def devices(self, uid: str, container: str) -> Iterable[Given]:
        return (Given(uid, container, NAME, ("a", "b", "c")),) if (uid, container) == ("u1", "c") else ()

    def claims(self, pod: Pod, container: Container) -> Iterable[Prepared]:
        device = Device(("r",), "pool", "gpu0", ("vendor.com/gpu=0",), "gpu.vendor.com")
        one = Prepared("u9", "default", "mine", ("gpu.vendor.com",), ("u1",), (device,), done=True)
        return (one,) if container.name == "c" else ()

    def near(self) -> Near:
        return {NAME: {"a": 0b1, "b": 0b11, "c": 0}}


def test_a_pod_has_what_its_containers_have() -> None:
    side, init = container("side", restart_policy="Always"), container("init")

    told = MessageToDict(
        pod_resources(pod(container("c"), init_containers=(init, side)), Held()),
        preserving_proto_field_name=True,
    )

    assert (told["name"], told["namespace"]) == ("web", "default")
    assert [one["name"] for one in told["containers"]] == ["side", "c"]
    assert told["containers"][0] == {"name": "side"}
    found = told["containers"][1]
    assert found["cpu_ids"] == ["1", "5"]
    assert found["memory"] == [
        {"memory_type": "memory", "size": "64", "topology": {"nodes": [{}, {"ID": "1"}]}}
    ]
    assert found["devices"] == [
        {"resource_name": NAME, "device_ids": ["a"], "topology": {"nodes": [{}]}},
        {"resource_name": NAME, "device_ids": ["b"], "topology": {"nodes": [{}]}},
        {"resource_name": NAME, "device_ids": ["b"], "topology": {"nodes": [{"ID": "1"}]}},
        {"resource_name": NAME, "device_ids": ["c"]},
    ]
    assert found["dynamic_resources"] == [
        {
            "claim_name": "mine",
            "claim_namespace": "default",
            "claim_resources": [
                {
                    "cdi_devices": [{"name": "vendor.com/gpu=0"}],
                    "driver_name": "gpu.vendor.com",
                    "pool_name": "pool",
                    "device_name": "gpu0",
                }
            ],
        }
    ]


def test_the_older_version_knows_devices_only() -> None:
    told = MessageToDict(
        as_alpha(pod_resources(pod(container("c")), Held())), preserving_proto_field_name=True
    )

    (found,) = told["containers"]
    assert found.keys() == {"name", "devices"}
    assert [one["device_ids"] for one in found["devices"]] == [["a"], ["b"], ["b"], ["c"]]
    assert all(one.keys() == {"resource_name", "device_ids"} for one in found["devices"])


def test_all_that_could_be_given_is_told_whoever_has_it() -> None:
    told = allocatable({3, 1}, (Block((0,), "memory", 9),), {NAME: {"c", "a"}}, Held().near())

    assert list(told.cpu_ids) == [1, 3]
    assert [(one.memory_type, one.size) for one in told.memory] == [("memory", 9)]
    assert [list(one.device_ids) for one in told.devices] == [["a"], ["c"]]


def test_so_many_may_be_asked_at_once_and_more_as_time_goes_by() -> None:
    now = [0.0]
    limiter = Limiter(100.0, 10, lambda: now[0])

    assert [limiter.allow() for _each in range(11)] == [True] * 10 + [False]
    now[0] = 0.02
    assert [limiter.allow() for _each in range(3)] == [True, True, False]
    now[0] = 60.0
    assert sum(limiter.allow() for _each in range(20)) == 10
