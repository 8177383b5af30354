"""Which flows of UDP services lead to nobody."""

from dataclasses import replace

import pytest

from kybern.proxy.conntrack import Flow, stale
from kybern.proxy.model import Endpoint, ServicePort

SERVING = Endpoint("10.244.0.1", 53)
ENDING = Endpoint("10.244.0.2", 53, ready=False, serving=True, terminating=True)
BROKEN = Endpoint("10.244.0.3", 53, ready=False, serving=False)
DNS = ServicePort(
    "kube-system", "dns", "dns", "UDP", 53, "10.96.0.10", node_port=30053, external_ips=("192.0.2.1",),
    balancer_ips=("192.0.2.9",), endpoints=(SERVING, ENDING, BROKEN),
)  # fmt: skip


@pytest.mark.parametrize("address", ["10.96.0.10", "192.0.2.1", "192.0.2.9"])
@pytest.mark.parametrize(
    ("answers", "gone"),
    [("10.244.0.1", False), ("10.244.0.2", False), ("10.244.0.3", True), ("10.0.0.9", True)],
)
def test_a_flow_ends_when_its_endpoint_no_longer_serves(address: str, answers: str, *, gone: bool) -> None:
    flow = Flow(address, 53, answers)

    assert stale([flow], [DNS]) == ([flow] if gone else [])


def test_node_ports_have_any_address() -> None:
    flows = [Flow("192.0.2.77", 30053, "10.0.0.9"), Flow("192.0.2.77", 30054, "10.0.0.9")]

    assert stale(flows, [DNS]) == flows[:1]


def test_without_anybody_who_serves_flows_stay() -> None:
    flow = Flow("10.96.0.10", 53, "10.0.0.9")

    assert stale([flow], [replace(DNS, endpoints=(BROKEN,))]) == []


def test_tcp_is_left_alone() -> None:
    assert stale([Flow("10.96.0.10", 53, "10.0.0.9")], [replace(DNS, protocol="TCP")]) == []
