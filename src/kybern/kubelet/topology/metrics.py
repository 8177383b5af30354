"""How often pods were aligned, and how CPUs were given: upstream's metrics."""

from prometheus_client import Counter, Gauge, Histogram

REQUESTS = Counter(
    "kubelet_topology_manager_admission_requests",
    "The number of admission requests where resources have to be aligned.",
)
ERRORS = Counter(
    "kubelet_topology_manager_admission_errors",
    "The number of admission request failures where resources could not be aligned.",
)
DURATION = Histogram(
    "kubelet_topology_manager_admission_duration_ms",
    "Duration in milliseconds to serve a pod admission request.",
    buckets=tuple(0.05 * 1.35**step for step in range(15)),
)
PINNED = Counter(
    "kubelet_cpu_manager_pinning_requests", "The number of cpu core allocations which required pinning."
)
UNPINNED = Counter(
    "kubelet_cpu_manager_pinning_errors", "The number of cpu core allocations which required pinning failed."
)
MEMORY = Counter(
    "kubelet_memory_manager_pinning_requests",
    "The number of memory pages allocations which required pinning.",
)
NO_MEMORY = Counter(
    "kubelet_memory_manager_pinning_errors",
    "The number of memory pages allocations which required pinning that failed.",
)
SHARED = Gauge(
    "kubelet_cpu_manager_shared_pool_size_millicores",
    "The size of the shared CPU pool for non-guaranteed QoS pods, in millicores.",
)
EXCLUSIVE = Gauge(
    "kubelet_cpu_manager_exclusive_cpu_allocation_count",
    "The total number of CPUs exclusively allocated to containers running on this node",
)
ON_NODE = Gauge(
    "kubelet_cpu_manager_allocation_per_numa", "Number of CPUs allocated per NUMA node", ["numa_node"]
)
# Upstream counts under names that do not end with _total, which the library gives to gauges only.
ALIGNED = Gauge(
    "kubelet_container_aligned_compute_resources_count",
    "Cumulative number of aligned compute resources allocated to containers by alignment type.",
    ["scope", "boundary"],
)
UNALIGNED = Gauge(
    "kubelet_container_aligned_compute_resources_failure_count",
    "Cumulative number of failures to allocate aligned compute resources to containers by alignment type.",
    ["scope", "boundary"],
)
