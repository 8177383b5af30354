"""Which containers get CPUs for themselves."""

from typing import Any

import pytest

from kybern.api.core_v1 import Container, Pod, PodStatus, ResourceRequirements
from kybern.kubelet.cpus.assignment import Unavailable
from kybern.kubelet.cpus.layout import Layout
from kybern.kubelet.cpus.ledger import Hand, Shelf, parse, reserve, spelled, wish
from kybern.kubelet.topology.allot import allot
from kybern.kubelet.topology.hints import Numa
from kybern.kubelet.topology.merge import Policy
from kybern.machinery.struct import replace
from tests.unit.kubelet.making import container, pod

# Two sockets of two cores of two threads each: 0-3 on the first socket, threads of a core are 0 and 4, 1 and 5 ...
PLACES = {cpu: (cpu % 4 // 2, cpu % 4) for cpu in range(8)}


def sized(name: str, cpu: str, **more: Any) -> Container:
    amounts = {"cpu": cpu, "memory": "1Gi"}
    return container(name, resources=ResourceRequirements(limits=amounts, requests=amounts), **more)


def given(of: Pod, free: str) -> dict[str, str]:
    hand = Hand(of, Shelf(Layout(PLACES), parse(free)))
    allot(of, (hand,), Policy(), Numa())
    return {one.container: spelled(one.cpus) for one in hand.given}


@pytest.mark.parametrize("text", ["", "0", "0-3", "0,2-4,7"])
def test_sets_are_spelled_as_the_kernel_does(text: str) -> None:
    assert spelled(parse(text)) == text


def test_only_whole_cpus_of_guaranteed_pods_are_given() -> None:
    burstable = replace(pod(sized("c", "2")), status=PodStatus(qos_class="Burstable"))

    assert wish(pod(sized("c", "2")), sized("c", "2")) == 2
    assert wish(pod(sized("c", "1500m")), sized("c", "1500m")) == 0
    assert wish(burstable, sized("c", "2")) == 0
    assert given(burstable, "1-7") == {}


def test_whole_cores_come_first_then_what_is_left_of_broken_ones() -> None:
    assert given(pod(sized("c", "2")), "1-7") == {"c": "1,5"}
    assert given(pod(sized("c", "1")), "1-7") == {"c": "4"}
    assert given(pod(sized("c", "3")), "1-7") == {"c": "1,4-5"}


def test_containers_do_not_share_and_too_few_are_told() -> None:
    assert given(pod(sized("x", "2"), sized("y", "2")), "0-7") == {"x": "0,4", "y": "1,5"}
    with pytest.raises(Unavailable, match="requested=2, available=1"):
        given(pod(sized("x", "2"), sized("y", "2")), "0-2")


def test_init_containers_hand_their_cpus_on_and_sidecars_keep_theirs() -> None:
    first, side = sized("i", "2"), sized("s", "2", restart_policy="Always")

    assert given(pod(sized("c", "2"), init_containers=(first,)), "0-7") == {"i": "0,4", "c": "0,4"}
    assert given(pod(sized("c", "2"), init_containers=(side,)), "0-7") == {"s": "0,4", "c": "1,5"}


def test_reserved_are_whole_cores() -> None:
    assert [spelled(reserve(Layout(PLACES), count)) for count in (0, 1, 2, 3)] == ["", "0", "0,4", "0-1,4"]
