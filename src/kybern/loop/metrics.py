"""The metrics of work queues and of what controllers do, by upstream's names: dashboards made for it show ours."""

from collections.abc import Mapping

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

_JOB = "job_controller"
_SECONDS = tuple(2.0**exponent for exponent in range(10))
_MILLISECONDS = tuple(0.004 * 2.0**exponent for exponent in range(15))
_TENTHS = tuple(0.1 * 2.0**exponent for exponent in range(14))
_SYNC = ("completion_mode", "result", "action")
COUNTS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    f"{_JOB}_jobs_finished_total": ("The number of finished jobs", ("completion_mode", "result", "reason")),
    f"{_JOB}_job_pods_finished_total": (
        "The number of finished Pods that are fully tracked",
        ("completion_mode", "result"),
    ),
    f"{_JOB}_job_syncs_total": ("The number of job syncs", _SYNC),
    f"{_JOB}_job_finished_indexes_total": ("The number of finished indexes", ("status", "backoffLimit")),
    f"{_JOB}_job_pods_creation_total": ("The number of Pods that jobs created", ("reason", "status")),
    f"{_JOB}_pod_failures_handled_by_failure_policy_total": (
        "The number of failed Pods by the action of the rule that matched",
        ("action",),
    ),
    "node_collector_evictions_total": (
        "Number of nodes whose pods had to leave since this process started",
        ("zone",),
    ),
    "pod_gc_collector_force_delete_pods_total": (
        "Number of pods deleted without grace since this process started",
        ("namespace", "reason"),
    ),
    "taint_eviction_controller_pod_deletions_total": (
        "Number of pods deleted because of a taint of their node since this process started",
        (),
    ),
    "device_taint_eviction_controller_pod_deletions_total": (
        "Number of pods deleted because of a taint of their device since this process started",
        (),
    ),
}
"""What controllers count: what it is, and by which labels."""
DURATIONS: Mapping[str, tuple[str, tuple[str, ...], tuple[float, ...]]] = {
    f"{_JOB}_job_sync_duration_seconds": ("The time it took to sync a job", _SYNC, _MILLISECONDS),
    "cronjob_controller_job_creation_skew_duration_seconds": (
        "Time between when a cronjob is scheduled to be run, and when the corresponding job is created",
        (),
        _SECONDS,
    ),
    "ttl_after_finished_controller_job_deletion_duration_seconds": (
        "The time it took to delete the job since it became eligible for deletion",
        (),
        _TENTHS,
    ),
}
"""Seconds that controllers measure: what they are, by which labels, and the bounds of the buckets."""
_COUNTED = {name: Counter(name, text, labels) for name, (text, labels) in COUNTS.items()}
_MEASURED = {
    name: Histogram(name, text, labels, buckets=bounds) for name, (text, labels, bounds) in DURATIONS.items()
}


def note(name: str, labels: tuple[str, ...], value: float) -> None:
    """Add to a counter, or one observation to a histogram."""
    if name in _COUNTED:
        counter = _COUNTED[name]
        (counter.labels(*labels) if labels else counter).inc(value)
    else:
        measured = _MEASURED[name]
        (measured.labels(*labels) if labels else measured).observe(value)
