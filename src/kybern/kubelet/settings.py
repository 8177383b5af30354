"""What the kubelet is told, as one frozen record; ``configuration.py`` reads it from flags and a file."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from kybern.api.core_v1 import Taint
from kybern.kubelet.eviction.signals import DEFAULT
from kybern.kubelet.memory.reservation import Reservation
from kybern.kubelet.shutdown.groups import Period


@dataclass(frozen=True, slots=True)
class Settings:
    """Times in seconds. Names are those of KubeletConfiguration where it has them."""

    flags: Mapping[str, str] = field(default_factory=dict, compare=False)
    """The command line, for the page that shows it."""
    kubeconfig: str = ""
    bootstrap_kubeconfig: str = ""
    hostname_override: str = ""
    node_ip: tuple[str, ...] = ()
    node_labels: Mapping[str, str] = field(default_factory=dict)
    root_dir: str = "/var/lib/kubelet"
    cert_dir: str = "/var/lib/kubelet/pki"
    endpoint: str = "unix:///run/containerd/containerd.sock"
    static_pod_path: str = ""
    static_pod_url: str = ""
    static_pod_header: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Fields of the request for it; their values may be secret."""
    url_every: float = 20.0
    taints: tuple[Taint, ...] = ()
    register_node: bool = True
    address: str = "0.0.0.0"
    port: int = 10250
    enable_server: bool = True
    read_only_port: int = 0
    tls_cert: str = ""
    tls_key: str = ""
    tls_minimum: str = ""
    server_bootstrap: bool = False
    tls_ciphers: tuple[str, ...] = ()
    client_ca: str = ""
    anonymous: bool = False
    webhook_authentication: bool = True
    authorization: str = "Webhook"
    token_ttl: float = 120.0
    allowed_ttl: float = 300.0
    refused_ttl: float = 30.0
    debugging: bool = True
    profiling: bool = True
    debug_flags: bool = True
    system_logs: bool = True
    iptables_hint: bool = True
    log_query: bool = False
    verbosity: int = 0
    log_format: str = "text"
    oom_score: int = -999
    most_files: int = 1_000_000
    gates: Mapping[str, bool] = field(default_factory=dict)
    past: Mapping[str, Any] = field(default_factory=dict, compare=False)
    """Fields that were given and have no effect here."""
    healthz_address: str = "127.0.0.1"
    healthz_port: int = 10248
    cluster_dns: tuple[str, ...] = ()
    cluster_domain: str = ""
    resolv_conf: str = "/etc/resolv.conf"
    max_pods: int = 110
    cgroup_root: str = "/"
    cgroup_driver: str = "cgroupfs"
    cpu_cfs_quota: bool = True
    cpu_policy: str = "none"
    cpu_options: Mapping[str, str] = field(default_factory=dict)
    cpu_every: float = 10.0
    reserved_cpus: str = ""
    memory_policy: str = "None"
    reserved_memory: tuple[Reservation, ...] = ()
    topology_policy: str = "none"
    topology_scope: str = "container"
    topology_options: Mapping[str, str] = field(default_factory=dict)
    pods_per_core: int = 0
    pod_pids: int = -1
    enforce: tuple[str, ...] = ("pods",)
    kube_cgroup: str = ""
    system_cgroup: str = ""
    fail_cgroup_v1: bool = False
    cpu_cfs_period: float = 0.1
    kube_reserved: Mapping[str, str] = field(default_factory=dict)
    system_reserved: Mapping[str, str] = field(default_factory=dict)
    eviction_hard: Mapping[str, str] = field(default_factory=lambda: DEFAULT)
    eviction_soft: Mapping[str, str] = field(default_factory=dict)
    eviction_grace: Mapping[str, float] = field(default_factory=dict)
    eviction_minimum: Mapping[str, str] = field(default_factory=dict)
    eviction_most_grace: int = 0
    eviction_transition: float = 300.0
    eviction_merge: bool = False
    eviction_every: float = 10.0
    storage_limits: bool = True
    stats_fresh: float = 60.0
    request_timeout: float = 120.0
    status_every: float = 10.0
    report_every: float = 300.0
    most_images: int = 50
    restart_most: float = 300.0
    unseen_for: float = 1.0
    event_rate: int = 50
    event_burst: int = 100
    lease_seconds: int = 40
    image_endpoint: str = ""
    image_proof: str = "NeverVerifyPreloadedImages"
    image_allowlist: tuple[str, ...] = ()
    pull_rate: int = 5
    pull_burst: int = 10
    serialize_pulls: bool = True
    ids_per_pod: int = 65536
    log_max_size: str = "10Mi"
    log_max_files: int = 5
    log_every: float = 10.0
    log_workers: int = 1
    image_high: int = 85
    image_low: int = 80
    image_min_age: float = 120.0
    image_max_age: float = 0.0
    parallel_pulls: int = 0
    credential_config: str = ""
    credential_programs: str = ""
    pod_logs: str = "/var/log/pods"
    container_logs: str = "/var/log/containers"
    rotate_certificates: bool = True
    provider_id: str = ""
    cloud_provider: str = ""
    shutdown_period: float = 0.0
    shutdown_critical: float = 0.0
    shutdown_by_priority: tuple[Period, ...] = ()
    fail_swap_on: bool = True
    swap_behavior: str = ""
    unsafe_sysctls: tuple[str, ...] = ()
    seccomp_default: bool = False
