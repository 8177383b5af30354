"""The metrics of work queues, by upstream's names, so that dashboards made for it show ours."""

from prometheus_client import Counter, Gauge, Histogram

_BUCKETS = tuple(10.0**exponent for exponent in range(-8, 2))

DEPTH = Gauge("workqueue_depth", "Current depth of workqueue", ["name"])
ADDS = Counter("workqueue_adds_total", "Total number of adds handled by workqueue", ["name"])
RETRIES = Counter("workqueue_retries_total", "Total number of retries handled by workqueue", ["name"])
WAITED = Histogram(
    "workqueue_queue_duration_seconds",
    "How long in seconds an item stays in workqueue",
    ["name"],
    buckets=_BUCKETS,
)
WORKED = Histogram(
    "workqueue_work_duration_seconds",
    "How long in seconds processing an item takes",
    ["name"],
    buckets=_BUCKETS,
)
UNFINISHED = Gauge(
    "workqueue_unfinished_work_seconds",
    "How many seconds of work is in progress and not yet observed",
    ["name"],
)
LONGEST = Gauge(
    "workqueue_longest_running_processor_seconds",
    "How many seconds the longest running processor has been running",
    ["name"],
)
LEADING = Gauge(
    "leader_election_master_status", "Whether this process leads: 1 for the leader, 0 for the rest", ["name"]
)
