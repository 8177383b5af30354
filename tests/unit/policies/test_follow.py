"""What the daemon knows, what it waits for, and when it writes."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import msgspec
import pytest
from prometheus_client import REGISTRY

from kybern.api.core_v1 import Namespace, Node, NodeSpec
from kybern.api.meta_v1 import ObjectMeta
from kybern.api.networking_v1 import NetworkPolicy
from kybern.machinery.struct import decoder
from kybern.netfilter.frames import upwards
from kybern.netfilter.programs import CannotApply
from kybern.policies import sync
from kybern.policies.follow import State
from kybern.policies.model import Model
from kybern.policies.records import SeenPod, networks, pod
from kybern.policies.sync import Syncer
from tests.unit.policies.worlds import a_pod, a_policy

POLICY = decoder(NetworkPolicy).decode(msgspec.json.encode(a_policy("x", "p", {}, [])))
POD = decoder(SeenPod).decode(msgspec.json.encode(a_pod("x", "a", {}, ("10.1.0.1",))))
NODE = Node(
    metadata=ObjectMeta(name="n1"),
    spec=NodeSpec(pod_cidr="10.1.0.0/24", pod_cidrs=("10.1.0.0/24", "fd00::/64")),
)


@dataclass
class FakeKernel:
    """Notes whether the model it was given last isolates a pod; refuses while ``refuses``."""

    given: list[bool] = field(default_factory=list)
    forgotten: int = 0
    refuses: bool = False

    async def apply(self, model: Model | None) -> int:
        if self.refuses:
            raise CannotApply("no")
        self.given.append(model is not None and model.is_needed)
        return 1

    async def is_intact(self) -> bool:
        return True

    def forget(self) -> None:
        self.forgotten += 1


def test_what_a_kubelet_tells_that_is_no_address_counts_as_nothing() -> None:
    told = decoder(SeenPod).decode(msgspec.json.encode(a_pod("x", "a", {}, ("?", "10.1.0.1"))))
    found = pod(told)

    assert found is not None
    assert found.addresses == ("10.1.0.1",)


def test_nothing_is_decided_before_all_is_listed_that_policies_are_about() -> None:
    state = State("n1")
    assert not state.is_complete
    state.sync(NetworkPolicy)
    assert state.is_complete, "without policies nothing else is asked for"
    assert not state.wants_pods

    state.tell(NetworkPolicy, ("x", "p"), POLICY)
    state.tell(Node, ("", "n1"), NODE)
    assert state.wants_pods
    assert not state.is_complete
    state.begin()
    state.sync(Namespace)
    state.tell(SeenPod, ("x", "a"), POD)
    assert not state.is_complete
    state.sync(SeenPod)
    assert state.is_complete
    assert state.model is not None
    state.model.settle()
    assert state.model.is_needed


def test_watches_end_with_the_last_policy_and_begin_anew_when_the_node_s_networks_change() -> None:
    state = State("n1")
    state.tell(NetworkPolicy, ("x", "p"), POLICY)
    state.tell(Node, ("", "n1"), NODE)
    state.turned.clear()

    state.tell(NetworkPolicy, ("x", "p"), POLICY)
    state.tell(Node, ("", "n1"), NODE)
    assert not state.turned.is_set()
    state.tell(Node, ("", "n1"), Node(metadata=NODE.metadata, spec=NodeSpec(pod_cidr="10.2.0.0/24")))
    assert state.turned.is_set()
    state.turned.clear()
    state.tell(NetworkPolicy, ("x", "p"), None)
    assert state.turned.is_set()
    state.forget()
    state.sync(NetworkPolicy)
    assert state.is_complete


def test_a_node_s_networks_are_of_both_versions() -> None:
    assert [str(one) for one in networks(NODE)] == ["10.1.0.0/24", "fd00::/64"]
    assert networks(Node()) == ()


def test_frames_are_made_packets_but_for_neighbour_discovery() -> None:
    text = upwards("kybern-policies", "02:00:00:00:00:01", networks(NODE))

    assert text.count("ether daddr set 02:00:00:00:00:01 meta pkttype set host") == 2
    assert "ip6 daddr fd00::/64 meta l4proto != icmpv6 ether" in text


def test_what_is_in_force_is_counted_and_nothing_while_nobody_is_isolated() -> None:
    state = State("n1")
    assert (state.isolated("ingress"), state.rules, state.elements) == (0, 0, 0)
    state.tell(NetworkPolicy, ("x", "p"), POLICY)
    state.tell(Node, ("", "n1"), NODE)
    state.begin()
    assert state.model is not None
    state.model.settle()
    assert (state.rules, state.elements) == (0, 0), "there is no table"

    state.tell(SeenPod, ("x", "a"), POD)
    state.model.settle()

    assert (state.isolated("ingress"), state.isolated("egress")) == (1, 0)
    assert state.rules == sum(map(len, state.model.table.chains.values())) > 2
    assert state.elements == 3, "where the pod's chain is, that it is one of ours, and itself as its peer"


def counted(name: str) -> float:
    return REGISTRY.get_sample_value(f"kybern_policies_{name}") or 0.0


async def _until(found: Callable[[], Any]) -> None:
    async with asyncio.timeout(10):
        while not found():
            await asyncio.sleep(0)


async def test_the_loop_waits_for_the_lists_writes_changes_and_tries_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sync, "RETRY", 0.0)
    monkeypatch.setattr(sync, "LEAST", 0.0)
    state, kernel, first = State("n1"), FakeKernel(), list[bool]()
    syncer, failed = Syncer(state, kernel, lambda: first.append(True)), counted("sync_rules_failures_total")
    running = asyncio.create_task(syncer.run())
    try:
        await asyncio.sleep(0)
        assert kernel.given == []

        state.sync(NetworkPolicy)
        await _until(lambda: kernel.given == [False])
        assert first == [True]

        state.tell(NetworkPolicy, ("x", "p"), POLICY)
        state.tell(Node, ("", "n1"), NODE)
        state.begin()
        state.tell(SeenPod, ("x", "a"), POD)
        state.sync(Namespace)
        kernel.refuses = True
        state.sync(SeenPod)
        await _until(lambda: kernel.forgotten and syncer.problem)
        assert counted("sync_rules_failures_total") > failed
        kernel.refuses = False
        await _until(lambda: kernel.given[-1] and not syncer.problem)
        assert first == [True]
    finally:
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running
