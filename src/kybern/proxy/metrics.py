"""What kube-proxy measures, under upstream's names and for the modes that upstream has them in (pkg/proxy/metrics)."""

import logging
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import CounterMetricFamily
from prometheus_client.registry import Collector

from kybern.netfilter import accounting
from kybern.proxy.rules import INVALID_DROPPED, LOCALHOST_ACCEPTED

LOG = logging.getLogger(__name__)
_BUCKETS = tuple(0.001 * 2**power for power in range(15))
_SLOW = (0.25, 0.5, *range(1, 60), *range(60, 120, 5), *range(120, 301, 30))
_FAMILY = ("ip_family",)

_ANY = Histogram(
    "kubeproxy_sync_proxy_rules_duration_seconds",
    "Time of one change of the rules",
    _FAMILY,
    buckets=_BUCKETS,
    registry=None,
)
_FULL = Histogram(
    "kubeproxy_sync_full_proxy_rules_duration_seconds",
    "Time of writing all rules",
    _FAMILY,
    buckets=_BUCKETS,
    registry=None,
)
_PARTIAL = Histogram(
    "kubeproxy_sync_partial_proxy_rules_duration_seconds",
    "Time of writing what changed",
    _FAMILY,
    buckets=_BUCKETS,
    registry=None,
)
_PROGRAMMED = Histogram(
    "kubeproxy_network_programming_duration_seconds",
    "Time from a change of pods or services until the rules have it",
    _FAMILY,
    buckets=_SLOW,
    registry=None,
)
IPTABLES_FAILURES = Counter(
    "kubeproxy_sync_proxy_rules_iptables_restore_failures_total",
    "Changes that iptables refused",
    _FAMILY,
    registry=None,
)
IPTABLES_PARTIAL_FAILURES = Counter(
    "kubeproxy_sync_proxy_rules_iptables_partial_restore_failures_total",
    "Changes that iptables refused, where it was not all rules that were written",
    _FAMILY,
    registry=None,
)
IPTABLES_RULES = Gauge(
    "kubeproxy_sync_proxy_rules_iptables_total",
    "Rules in kube-proxy's chains",
    (*_FAMILY, "table"),
    registry=None,
)
IPTABLES_WRITTEN = Gauge(
    "kubeproxy_sync_proxy_rules_iptables_last",
    "Rules that the last change wrote",
    (*_FAMILY, "table"),
    registry=None,
)
NFTABLES_FAILURES = Counter(
    "kubeproxy_sync_proxy_rules_nftables_sync_failures_total",
    "Changes that nft refused",
    _FAMILY,
    registry=None,
)
CLEANUP_FAILURES = Counter(
    "kubeproxy_sync_proxy_rules_nftables_cleanup_failures_total",
    "Times that a table could not be rid of what is not asked for",
    _FAMILY,
    registry=None,
)
_LAST = Gauge(
    "kubeproxy_sync_proxy_rules_last_timestamp_seconds",
    "When the rules were last as they should be",
    _FAMILY,
    registry=None,
)
_QUEUED = Gauge(
    "kubeproxy_sync_proxy_rules_last_queued_timestamp_seconds",
    "When a change of the rules was last asked for",
    _FAMILY,
    registry=None,
)
_SEEN = {
    kind: (
        Counter(
            f"kubeproxy_sync_proxy_rules_{kind}_changes_total",
            f"Changes of {of} that were seen",
            registry=None,
        ),
        Gauge(
            f"kubeproxy_sync_proxy_rules_{kind}_changes_pending",
            f"Changes of {of} that no rules were made of yet",
            registry=None,
        ),
    )
    for kind, of in (("service", "services"), ("endpoint", "endpoints"))
}
NO_LOCAL_ENDPOINTS = Gauge(
    "kubeproxy_sync_proxy_rules_no_local_endpoints_total",
    "Ports of services whose traffic has to stay on the node, and which have endpoints on others only",
    (*_FAMILY, "traffic_policy"),
    registry=None,
)
HEALTHZ = Counter(
    "kubeproxy_proxy_healthz_total", "Answers of /healthz, by their status", ("code",), registry=None
)
LIVEZ = Counter("kubeproxy_proxy_livez_total", "Answers of /livez, by their status", ("code",), registry=None)
_FLOWS = Histogram(
    "kubeproxy_conntrack_reconciler_sync_duration_seconds",
    "Time of looking for flows whose endpoint no longer serves",
    _FAMILY,
    buckets=_BUCKETS,
    registry=None,
)
DELETED_FLOWS = Counter(
    "kubeproxy_conntrack_reconciler_deleted_entries_total",
    "Flows taken from the kernel's table because their endpoint no longer serves",
    _FAMILY,
    registry=None,
)

_COUNTED: Mapping[str, tuple[str, str]] = {
    INVALID_DROPPED: (
        "kubeproxy_iptables_ct_state_invalid_dropped_packets",
        "Packets of no known connection that were dropped on their way",
    ),
    LOCALHOST_ACCEPTED: (
        "kubeproxy_iptables_localhost_nodeports_accepted_packets",
        "First packets of connections to node ports at the loopback address",
    ),
}


class _Counted(Collector):
    """The kernel's own counters of packets. One that the kernel does not have is not told, as upstream's."""

    def collect(self) -> Iterator[CounterMetricFamily]:
        for counter, (name, text) in _COUNTED.items():
            try:
                found = accounting.packets(counter)
            except OSError as problem:
                LOG.debug("cannot read the counter %s: %s", counter, problem)
                continue
            yield CounterMetricFamily(name, text, value=found)

    def describe(self) -> Iterator[CounterMetricFamily]:
        """Names alone, so that nothing is read when it is registered."""
        for name, text in _COUNTED.values():
            yield CounterMetricFamily(name, text)


_ALWAYS: tuple[Collector, ...] = (
    _ANY,
    _LAST,
    _QUEUED,
    *(one for pair in _SEEN.values() for one in pair),
    _PROGRAMMED,
    NO_LOCAL_ENDPOINTS,
    HEALTHZ,
    LIVEZ,
    _FLOWS,
    DELETED_FLOWS,
)
_OF_MODE: Mapping[str, tuple[Collector, ...]] = {
    "iptables": (
        _Counted(),
        _FULL,
        _PARTIAL,
        IPTABLES_FAILURES,
        IPTABLES_PARTIAL_FAILURES,
        IPTABLES_RULES,
        IPTABLES_WRITTEN,
    ),
    "ipvs": (IPTABLES_FAILURES,),
    "nftables": (_FULL, _PARTIAL, NFTABLES_FAILURES, CLEANUP_FAILURES),
}


def register(mode: str, registry: CollectorRegistry = REGISTRY) -> None:
    """Let /metrics tell what upstream tells in this mode."""
    for one in (*_ALWAYS, *_OF_MODE[mode]):
        registry.register(one)


@contextmanager
def sync_time(families: Iterable[str], *, whole: bool) -> Iterator[None]:
    """Measure one change of the rules: of all, or of those that differ. One change writes the rules of all families."""
    with ExitStack() as until:
        for family in families:
            for each in (_ANY, _FULL if whole else _PARTIAL):
                until.enter_context(each.labels(family).time())
        yield


@contextmanager
def flows_time(family: str) -> Iterator[None]:
    """Measure one look at the kernel's flows."""
    with _FLOWS.labels(family).time():
        yield


def seen(kind: str, families: Iterable[str]) -> None:
    """A change of a service, or of an "endpoint", waits to be made into rules."""
    total, pending = _SEEN[kind]
    total.inc()
    pending.inc()
    for family in families:
        _QUEUED.labels(family).set_to_current_time()


def taken() -> None:
    """Nothing that was seen waits any more."""
    for _, pending in _SEEN.values():
        pending.set(0)


def synced(families: Iterable[str], waited: Iterable[float]) -> None:
    """The rules are as they should be; ``waited`` is how long ago the changes in them had happened, in seconds."""
    waited = list(waited)
    for family in families:
        _LAST.labels(family).set_to_current_time()
        for seconds in waited:
            _PROGRAMMED.labels(family).observe(seconds)
