"""What kube-proxy measures, under upstream's names (pkg/proxy/metrics)."""

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager

from prometheus_client import Counter, Gauge, Histogram

_BUCKETS = tuple(0.001 * 2**power for power in range(15))
_SLOW = (0.25, 0.5, *range(1, 60), *range(60, 120, 5), *range(120, 301, 30))
_FAMILY = ("ip_family",)

_ANY = Histogram(
    "kubeproxy_sync_proxy_rules_duration_seconds",
    "Time of one change of the rules",
    _FAMILY,
    buckets=_BUCKETS,
)
_FULL = Histogram(
    "kubeproxy_sync_full_proxy_rules_duration_seconds", "Time of writing all rules", _FAMILY, buckets=_BUCKETS
)
_PARTIAL = Histogram(
    "kubeproxy_sync_partial_proxy_rules_duration_seconds",
    "Time of writing what changed",
    _FAMILY,
    buckets=_BUCKETS,
)
_PROGRAMMED = Histogram(
    "kubeproxy_network_programming_duration_seconds",
    "Time from a change of pods or services until the rules have it",
    _FAMILY,
    buckets=_SLOW,
)
IPTABLES_FAILURES = Counter(
    "kubeproxy_sync_proxy_rules_iptables_restore_failures_total", "Changes that iptables refused", _FAMILY
)
NFTABLES_FAILURES = Counter(
    "kubeproxy_sync_proxy_rules_nftables_sync_failures_total", "Changes that nft refused", _FAMILY
)
CLEANUP_FAILURES = Counter(
    "kubeproxy_sync_proxy_rules_nftables_cleanup_failures_total",
    "Times that a table could not be rid of what is not asked for",
    _FAMILY,
)
_LAST = Gauge(
    "kubeproxy_sync_proxy_rules_last_timestamp_seconds", "When the rules were last as they should be", _FAMILY
)
_QUEUED = Gauge(
    "kubeproxy_sync_proxy_rules_last_queued_timestamp_seconds",
    "When a change of the rules was last asked for",
    _FAMILY,
)
_SEEN = {
    kind: (
        Counter(f"kubeproxy_sync_proxy_rules_{kind}_changes_total", f"Changes of {of} that were seen"),
        Gauge(
            f"kubeproxy_sync_proxy_rules_{kind}_changes_pending",
            f"Changes of {of} that no rules were made of yet",
        ),
    )
    for kind, of in (("service", "services"), ("endpoint", "endpoints"))
}
LINES = Counter(
    "kubeproxy_sync_proxy_rules_iptables_lines_total", "Lines sent to the program that writes the rules"
)
DELETED_FLOWS = Counter(
    "kubeproxy_conntrack_reconciler_deleted_entries_total",
    "Flows taken from the kernel's table because their endpoint no longer serves",
    ["ip_family"],
)


@contextmanager
def sync_time(families: Iterable[str], *, whole: bool) -> Iterator[None]:
    """Measure one change of the rules: of all, or of those that differ. One change writes the rules of all families."""
    with ExitStack() as until:
        for family in families:
            for each in (_ANY, _FULL if whole else _PARTIAL):
                until.enter_context(each.labels(family).time())
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
