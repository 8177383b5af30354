"""What the pod network daemon measures, in upstream's style (kube-proxy's ``sync_proxy_rules``)."""

from prometheus_client import Counter, Gauge, Histogram

SYNC = Histogram(
    "kybern_pod_network_sync_routes_duration_seconds",
    "Time of one look at the kernel's routes, and of their change",
    buckets=tuple(0.001 * 2**power for power in range(15)),
)
LAST = Gauge(
    "kybern_pod_network_sync_routes_last_timestamp_seconds", "When the routes were last as they should be"
)
FAILURES = Counter("kybern_pod_network_sync_routes_failures_total", "Changes of routes that failed")
CHANGES = Counter("kybern_pod_network_route_changes_total", "Routes that were set or removed")
ROUTES = Gauge("kybern_pod_network_routes", "Routes to other nodes' pods, by their way", ["way"])
