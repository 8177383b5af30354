"""Which services have to be looked at again, after what the watches saw."""

import pytest
from prometheus_client import CollectorRegistry

from kybern.api.core_v1 import Node, NodeAddress, NodeStatus
from kybern.api.discovery_v1 import EndpointSlice
from kybern.api.meta_v1 import ObjectMeta
from kybern.machinery.struct import replace
from kybern.proxy import metrics
from kybern.proxy.state import TRIGGERED, State
from kybern.proxy.topology import Place
from tests.unit.proxy.test_model import SLICE, WEB

KEY = ("default", "web")
TOLD = CollectorRegistry()
metrics.register("nftables", TOLD)


@pytest.fixture
def state() -> State:
    found = State(Place("n1"))
    found.sync(type(WEB), [WEB])
    found.sync(EndpointSlice, [SLICE])
    found.sync(Node, [])
    found.take()
    return found


def labelled(labels: dict[str, str], part: EndpointSlice = SLICE) -> EndpointSlice:
    return replace(part, metadata=replace(part.metadata, labels=labels))


def test_nothing_is_decided_before_all_lists_are_in() -> None:
    state = State(Place("n1"))
    state.sync(type(WEB), [WEB])
    state.sync(EndpointSlice, [SLICE])

    assert not state.is_complete
    state.sync(Node, [])
    assert state.is_complete


def test_a_slice_touches_its_service_only(state: State) -> None:
    state.put(replace(SLICE, endpoints=()), SLICE)

    assert state.take() == {KEY}
    assert state.take() == set()
    assert state.ports(KEY)[0].endpoints == ()


def test_other_metadata_touches_nothing(state: State) -> None:
    new = replace(SLICE, metadata=replace(SLICE.metadata, resource_version="8"))

    state.put(new, SLICE)

    assert not state.changed.is_set()


def test_a_slice_that_changes_its_service_touches_both(state: State) -> None:
    state.put(labelled({"kubernetes.io/service-name": "other"}), SLICE)

    assert state.take() == {KEY, ("default", "other")}
    assert state.ports(KEY)[0].endpoints == ()


def test_a_slice_of_no_service_is_kept_nowhere(state: State) -> None:
    state.put(labelled({}, replace(SLICE, metadata=ObjectMeta(namespace="default", name="x"))), None)

    assert state.take() == set()


def test_what_is_gone_is_served_no_more(state: State) -> None:
    state.drop(SLICE)
    assert state.ports(KEY)[0].endpoints == ()
    state.drop(WEB)
    assert state.ports(KEY) == ()
    assert state.take() == {KEY}


def test_another_zone_touches_every_service(state: State) -> None:
    node = Node(metadata=ObjectMeta(name="n1", labels={"topology.kubernetes.io/zone": "a"}))

    state.put(node, None)
    assert (state.take(), state.place.zone) == ({KEY}, "a")
    state.put(node, node)
    assert state.take() == set()


def addressed(*addresses: tuple[str, str]) -> Node:
    found = tuple(NodeAddress(type=kind, address=one) for kind, one in addresses)
    return Node(metadata=ObjectMeta(name="n1"), status=NodeStatus(addresses=found))


def test_the_node_s_inner_addresses_come_first(state: State) -> None:
    state.put(
        addressed(
            ("Hostname", "n1"),
            ("ExternalIP", "203.0.113.1"),
            ("InternalIP", "192.0.2.1"),
            ("InternalIP", "n1"),
        ),
        None,
    )

    assert state.addresses == ("192.0.2.1", "203.0.113.1")
    assert state.changed.is_set()
    assert state.take() == set()


def test_when_a_change_happened_is_kept_until_it_is_taken(state: State) -> None:
    stamp = {TRIGGERED: "2026-01-02T03:04:05.678901234Z"}
    new = replace(SLICE, endpoints=(), metadata=replace(SLICE.metadata, annotations=stamp))

    state.put(new, SLICE)
    state.put(replace(new, metadata=replace(new.metadata, annotations={TRIGGERED: "soon"})), SLICE)

    assert state.triggered == [pytest.approx(1767323045.6789, abs=0.001)]


def test_changes_are_counted_and_wait_until_they_are_taken(state: State) -> None:
    state.take()
    names = [f"kubeproxy_sync_proxy_rules_{kind}_changes_pending" for kind in ("service", "endpoint")]
    assert [TOLD.get_sample_value(name) for name in names] == [0, 0]
    before = TOLD.get_sample_value("kubeproxy_sync_proxy_rules_endpoint_changes_total") or 0

    state.drop(SLICE)
    state.drop(WEB)

    assert [TOLD.get_sample_value(name) for name in names] == [1, 1]
    assert TOLD.get_sample_value("kubeproxy_sync_proxy_rules_endpoint_changes_total") == before + 1
    queued = "kubeproxy_sync_proxy_rules_last_queued_timestamp_seconds"
    assert TOLD.get_sample_value(queued, {"ip_family": "IPv4"})
