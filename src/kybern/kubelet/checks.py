"""What may not stand in a configuration, field by field; texts are upstream's (ValidateKubeletConfiguration). Pure."""

from collections.abc import Iterator

from kybern.daemon import logs, tls
from kybern.kubelet.images import rights
from kybern.kubelet.images.rights import Policy
from kybern.kubelet.settings import Settings

ENFORCEMENTS = (
    "pods", "system-reserved", "kube-reserved", "system-reserved-compressible", "kube-reserved-compressible", "none",
)  # fmt: skip
# Fields that must lie between two numbers; the flag is named where there is one.
_BETWEEN = (
    ("healthz_port", "healthzPort (--healthz-port)", 0, 65535),
    ("image_high", "imageGCHighThresholdPercent (--image-gc-high-threshold)", 0, 100),
    ("image_low", "imageGCLowThresholdPercent (--image-gc-low-threshold)", 0, 100),
    ("oom_score", "oomScoreAdj (--oom-score-adj)", -1000, 1000),
    ("port", "port (--port)", 0, 65535),
    ("read_only_port", "readOnlyPort (--read-only-port)", 0, 65535),
)
_NOT_NEGATIVE = (
    ("event_burst", "eventBurst (--event-burst)"),
    ("event_rate", "eventRecordQPS (--event-qps)"),
    ("most_files", "maxOpenFiles (--max-open-files)"),
    ("max_pods", "maxPods (--max-pods)"),
    ("pods_per_core", "podsPerCore (--pods-per-core)"),
    ("pull_burst", "registryBurst (--registry-burst)"),
    ("pull_rate", "registryPullQPS (--registry-qps)"),
)


def check(settings: Settings) -> None:
    """Raises ValueError with all that is wrong, as one line."""
    found = [*_numbers(settings), *_images(settings), *_times(settings), *_enforced(settings)]
    if settings.cgroup_driver not in ("cgroupfs", "systemd"):
        found.append(
            f'cgroupDriver (--cgroup-driver) "{settings.cgroup_driver}" is none of cgroupfs, systemd'
        )
    try:
        logs.form(settings.log_format)
        rights.check(Policy(settings.image_proof, settings.image_allowlist))
        tls.ciphers(",".join(settings.tls_ciphers))
    except ValueError as problem:
        found.append(str(problem))
    if found:
        raise ValueError("; ".join(found))


def _numbers(settings: Settings) -> Iterator[str]:
    for name, shown, least, most in _BETWEEN:
        value = getattr(settings, name)
        if not least <= value <= most:
            yield f"{shown} {value} must be between {least} and {most}, inclusive"
    for name, shown in _NOT_NEGATIVE:
        value = getattr(settings, name)
        if value < 0:
            yield f"{shown} {value} must not be a negative number"
    if settings.most_images < -1:
        yield f"nodeStatusMaxImages (--node-status-max-images) {settings.most_images} must be -1 or greater"
    if settings.lease_seconds <= 0:
        yield "nodeLeaseDurationSeconds must be greater than 0"
    if settings.log_workers < 1:
        yield f"containerLogMaxWorkers {settings.log_workers} must be greater than or equal to 1"


def _images(settings: Settings) -> Iterator[str]:
    high, low = settings.image_high, settings.image_low
    if low >= high:
        yield (
            f"imageGCLowThresholdPercent (--image-gc-low-threshold) {low} must be less than "
            f"imageGCHighThresholdPercent (--image-gc-high-threshold) {high}"
        )
    if settings.parallel_pulls < 0:
        yield f"maxParallelImagePulls {settings.parallel_pulls} must be a positive number"
    oldest, youngest = settings.image_max_age, settings.image_min_age
    if oldest and oldest < youngest:
        yield f"imageMaximumGCAge {oldest:g}s must be greater than imageMinimumGCAge {youngest:g}s"


def _times(settings: Settings) -> Iterator[str]:
    period, longest = settings.cpu_cfs_period, settings.restart_most
    if not 0.001 <= period <= 1:
        yield f"cpuCFSQuotaPeriod (--cpu-cfs-quota-period) {period:g}s must be between 1ms and 1sec, inclusive"
    if not 1 <= longest <= 300:
        yield f"CrashLoopBackOff.MaxContainerRestartPeriod {longest:g}s must be between 1s and 5m0s, inclusive"
    if settings.log_every < 3:
        least = "a positive time duration greater than or equal to 3s"
        yield f"containerLogMonitorInterval must be {least}, not {settings.log_every:g}s"


def _enforced(settings: Settings) -> Iterator[str]:
    option = "enforceNodeAllocatable (--enforce-node-allocatable)"
    wanted = settings.enforce
    if "none" in wanted and len(wanted) > 1:
        yield f"{option} may not contain additional enforcements when none is specified"
    for name in wanted:
        if name not in ENFORCEMENTS:
            yield f'option "{name}" specified for {option}. Valid options are {", ".join(ENFORCEMENTS)}'
    for part, cgroup in (("system", settings.system_cgroup), ("kube", settings.kube_cgroup)):
        names = [name for name in wanted if name.startswith(f"{part}-reserved")]
        if len(set(names)) > 1:
            yield f"both {names[0]} and {names[1]} cannot be specified in {option}"
        if names and not cgroup:
            yield (
                f"{part}ReservedCgroup (--{part}-reserved-cgroup) must be specified when {names[0]} is included in {option}"
            )
