"""Which figures are told in which mode: upstream's, by the names that v1.36 registers (pkg/proxy/metrics)."""

import asyncio
import json

import pytest
from prometheus_client import CollectorRegistry

from kybern.netfilter import accounting
from kybern.netfilter.programs import CannotApply
from kybern.proxy import conntrack, metrics, nftables
from kybern.proxy.model import ServicePort
from kybern.proxy.nftables import Nftables
from kybern.proxy.rules import Settings

EVERYWHERE = {
    "kubeproxy_conntrack_reconciler_deleted_entries",
    "kubeproxy_conntrack_reconciler_sync_duration_seconds",
    "kubeproxy_network_programming_duration_seconds",
    "kubeproxy_proxy_healthz",
    "kubeproxy_proxy_livez",
    "kubeproxy_sync_proxy_rules_duration_seconds",
    "kubeproxy_sync_proxy_rules_endpoint_changes",
    "kubeproxy_sync_proxy_rules_endpoint_changes_pending",
    "kubeproxy_sync_proxy_rules_last_queued_timestamp_seconds",
    "kubeproxy_sync_proxy_rules_last_timestamp_seconds",
    "kubeproxy_sync_proxy_rules_no_local_endpoints_total",
    "kubeproxy_sync_proxy_rules_service_changes",
    "kubeproxy_sync_proxy_rules_service_changes_pending",
}
BY_PARTS = {
    "kubeproxy_sync_full_proxy_rules_duration_seconds",
    "kubeproxy_sync_partial_proxy_rules_duration_seconds",
}
RESTORED = {"kubeproxy_sync_proxy_rules_iptables_restore_failures"}
COUNTED = {
    "kubeproxy_iptables_ct_state_invalid_dropped_packets",
    "kubeproxy_iptables_localhost_nodeports_accepted_packets",
}
OF_MODE = {
    "iptables": {
        *BY_PARTS,
        *RESTORED,
        *COUNTED,
        "kubeproxy_sync_proxy_rules_iptables_last",
        "kubeproxy_sync_proxy_rules_iptables_partial_restore_failures",
        "kubeproxy_sync_proxy_rules_iptables_total",
    },
    "ipvs": RESTORED,
    "nftables": {
        *BY_PARTS,
        "kubeproxy_sync_proxy_rules_nftables_cleanup_failures",
        "kubeproxy_sync_proxy_rules_nftables_sync_failures",
    },
}


@pytest.mark.parametrize("mode", OF_MODE)
def test_each_mode_tells_what_upstream_s_tells(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accounting, "packets", len)
    registry = CollectorRegistry()

    metrics.register(mode, registry)

    told = {one.name: one for one in registry.collect()}
    assert told.keys() == EVERYWHERE | OF_MODE[mode]
    if mode == "iptables":
        invalid = registry.get_sample_value("kubeproxy_iptables_ct_state_invalid_dropped_packets_total")
        assert invalid == len("ct_state_invalid_dropped_pkts")


def test_a_counter_that_the_kernel_does_not_have_is_not_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def none(name: str) -> int:
        raise FileNotFoundError(name)

    monkeypatch.setattr(accounting, "packets", none)
    registry = CollectorRegistry()

    metrics.register("iptables", registry)

    assert not COUNTED & {one.name for one in registry.collect()}


NFTABLES = CollectorRegistry()
metrics.register("nftables", NFTABLES)


def told(name: str) -> float:
    return NFTABLES.get_sample_value(name, {"ip_family": "IPv4"}) or 0.0


def test_what_nft_refuses_is_counted_and_a_table_made_anew_as_a_failure_to_clear_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    names = [f"kubeproxy_sync_proxy_rules_nftables_{what}_failures_total" for what in ("sync", "cleanup")]
    listed = {"nftables": [{"chain": {"name": "old", "table": "kube-proxy"}}]}
    asked: list[str] = []

    async def refuse(*command: str, stdin: str = "") -> str:
        if "--json" in command:
            return json.dumps(listed)
        asked.append(stdin)
        raise CannotApply("no")

    monkeypatch.setattr(nftables, "run", refuse)
    before = [told(name) for name in names]

    with pytest.raises(CannotApply):
        asyncio.run(Nftables(Settings("10.244.0.0/16")).apply())

    assert [told(name) for name in names] == [count + 1 for count in before]
    assert len(asked) == 2, "once as it is, once anew"


@pytest.mark.parametrize("found", [0, 3])
def test_looks_at_flows_are_timed_and_what_goes_is_counted(
    monkeypatch: pytest.MonkeyPatch, found: int
) -> None:
    names = [
        f"kubeproxy_conntrack_reconciler_{what}"
        for what in ("sync_duration_seconds_count", "deleted_entries_total")
    ]
    monkeypatch.setattr(conntrack, "_forget_stale", lambda *_: found)
    before = [told(name) for name in names]
    port = ServicePort("default", "names", "dns", "UDP", 53, "10.96.0.10")

    asyncio.run(conntrack.Conntrack().forget_stale([port]))

    assert [told(name) for name in names] == [before[0] + 1, before[1] + found]
