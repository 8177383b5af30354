"""What the writer of haproxy's configuration measures. Requests are counted by haproxy itself (``--health-bind``)."""

from prometheus_client import Counter, Gauge, Histogram

SYNC = Histogram(
    "kybern_ingress_sync_duration_seconds",
    "Time of bringing haproxy to what the API says",
    buckets=tuple(0.001 * 2**power for power in range(15)),
)
LAST = Gauge("kybern_ingress_sync_last_timestamp_seconds", "When haproxy last had what it should")
FAILURES = Counter(
    "kybern_ingress_sync_failures_total", "Configurations that could not be brought to haproxy"
)
WRITTEN = Counter("kybern_ingress_configurations_total", "Configurations that were written and used")
INGRESSES = Gauge("kybern_ingress_ingresses", "Ingresses of the cluster, of whatever class")
PROBLEMS = Gauge("kybern_ingress_problems", "What of the Ingresses cannot be served as it is written")
