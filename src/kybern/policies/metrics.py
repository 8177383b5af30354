"""What the daemon of policies measures, in upstream's style (kube-proxy's ``sync_proxy_rules``)."""

from collections.abc import Callable

from prometheus_client import Counter, Gauge, Histogram

_BUCKETS = tuple(0.001 * 2**power for power in range(15))

SYNC = Histogram(
    "kybern_policies_sync_rules_duration_seconds",
    "Time of one change of the rules, from what the API says to what the kernel has",
    buckets=_BUCKETS,
)
LAST = Gauge(
    "kybern_policies_sync_rules_last_timestamp_seconds", "When the rules were last as they should be"
)
FAILURES = Counter("kybern_policies_sync_rules_failures_total", "Changes that nft refused")
LINES = Counter("kybern_policies_sync_rules_lines_total", "Lines sent to nft")
POLICIES = Gauge("kybern_policies_policies", "NetworkPolicies of the cluster")
ISOLATED = Gauge("kybern_policies_isolated_pods", "Pods of this node that a policy isolates", ["direction"])
RULES = Gauge("kybern_policies_rules", "Rules that are in force on this node")
ELEMENTS = Gauge("kybern_policies_set_elements", "Elements of the sets and maps that the rules ask")


def count(policies: Callable[[], int], rules: Callable[[], int], elements: Callable[[], int]) -> None:
    """Counted when somebody asks for it."""
    POLICIES.set_function(policies)
    RULES.set_function(rules)
    ELEMENTS.set_function(elements)


def count_isolated(direction: str, pods: Callable[[], int]) -> None:
    ISOLATED.labels(direction).set_function(pods)
