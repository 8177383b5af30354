"""What kube-proxy measures, under upstream's names (pkg/proxy/metrics)."""

from collections.abc import Iterator
from contextlib import contextmanager

from prometheus_client import Counter, Gauge, Histogram

_BUCKETS = tuple(0.001 * 2**power for power in range(15))

_ANY = Histogram(
    "kubeproxy_sync_proxy_rules_duration_seconds", "Time of one change of the rules", buckets=_BUCKETS
)
_FULL = Histogram(
    "kubeproxy_sync_full_proxy_rules_duration_seconds", "Time of writing all rules", buckets=_BUCKETS
)
_PARTIAL = Histogram(
    "kubeproxy_sync_partial_proxy_rules_duration_seconds", "Time of writing what changed", buckets=_BUCKETS
)
FAILURES = Counter(
    "kubeproxy_sync_proxy_rules_iptables_restore_failures_total", "Changes that iptables refused"
)
LAST = Gauge(
    "kubeproxy_sync_proxy_rules_last_timestamp_seconds", "When the rules were last as they should be"
)
LINES = Counter("kubeproxy_sync_proxy_rules_iptables_lines_total", "Lines sent to iptables-restore")
DELETED_FLOWS = Counter(
    "kubeproxy_conntrack_reconciler_deleted_entries_total",
    "Flows taken from the kernel's table because their endpoint no longer serves",
    ["ip_family"],
)


@contextmanager
def sync_time(*, whole: bool) -> Iterator[None]:
    """Measure one change of the rules: of all, or of those that differ."""
    with _ANY.time(), (_FULL if whole else _PARTIAL).time():
        yield
