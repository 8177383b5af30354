"""Which flows of UDP services lead to nobody."""

from dataclasses import replace

import pytest

from kybern.proxy.conntrack import Flow, Place, stale
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
    [
        pytest.param(("10.244.0.1", 53), False, id="serves"),
        pytest.param(("10.244.0.2", 53), False, id="ends, and still serves"),
        pytest.param(("10.244.0.3", 53), True, id="does not serve"),
        pytest.param(("10.0.0.9", 53), True, id="is none"),
        pytest.param(("10.244.0.1", 5353), True, id="listens elsewhere now"),
        pytest.param(("10.96.0.10", 53), True, id="called before there were rules"),
    ],
)
def test_a_flow_ends_when_its_endpoint_no_longer_serves(address: str, answers: Place, *, gone: bool) -> None:
    flow = Flow((address, 53), answers)

    assert stale([flow], [DNS]) == ([flow] if gone else [])


def test_node_ports_have_any_address() -> None:
    flows = [Flow(("192.0.2.77", port), ("10.0.0.9", 53)) for port in (30053, 30054)]

    assert stale(flows, [DNS]) == flows[:1]


@pytest.mark.parametrize(
    ("now", "before"),
    [
        pytest.param([replace(DNS, endpoints=(BROKEN,))], [], id="nobody serves"),
        pytest.param([], [DNS], id="the service is gone"),
        pytest.param([replace(DNS, port=54, node_port=30054)], [DNS], id="it is called elsewhere now"),
        pytest.param([replace(DNS, protocol="TCP")], [DNS], id="it is of TCP now"),
    ],
)
def test_flows_end_that_nobody_serves_any_more(now: list[ServicePort], before: list[ServicePort]) -> None:
    flows = [Flow(place, (SERVING.ip, 53)) for place in (("10.96.0.10", 53), ("192.0.2.77", 30053))]

    assert stale([*flows, Flow(("10.96.0.77", 53), (SERVING.ip, 53))], now, before) == flows


def test_what_changes_of_a_service_leaves_its_flows_alone() -> None:
    flow = Flow(("10.96.0.10", 53), (SERVING.ip, 53))
    now = [replace(DNS, node_port=0, external_local=True, internal_local=True)]

    assert stale([flow], now, [DNS]) == []


def test_an_address_that_two_services_have_is_served_by_both() -> None:
    other = replace(
        DNS, service="other", cluster_ip="10.96.0.11", endpoints=(replace(SERVING, ip="10.244.0.9"),)
    )

    assert (
        stale([Flow(("192.0.2.1", 53), (ip, 53)) for ip in ("10.244.0.1", "10.244.0.9")], [DNS, other]) == []
    )


def test_tcp_is_left_alone() -> None:
    assert stale([Flow(("10.96.0.10", 53), ("10.0.0.9", 53))], [replace(DNS, protocol="TCP")]) == []
