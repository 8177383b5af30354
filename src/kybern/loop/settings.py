"""What the controllers are told by the command line, as data; defaults are upstream's."""

from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network


@dataclass(frozen=True, slots=True)
class Settings:
    """Seconds for all times. Empty certificate paths switch off what needs them."""

    cluster_cidrs: tuple[IPv4Network | IPv6Network, ...] = ()
    service_cidrs: tuple[IPv4Network | IPv6Network, ...] = ()
    allocate_node_cidrs: bool = False
    node_mask_ipv4: int = 24
    node_mask_ipv6: int = 64
    root_ca: str = ""
    token_key: str = ""
    signing_cert: str = ""
    signing_key: str = ""
    signing_duration: float = 365 * 86400.0
    node_monitor_period: float = 5.0
    node_monitor_grace: float = 50.0
    node_startup_grace: float = 60.0
    node_eviction_rate: float = 0.1
    secondary_eviction_rate: float = 0.01
    large_cluster: int = 50
    unhealthy_zone: float = 0.55
    terminated_pods: int = 12500
    max_endpoints_per_slice: int = 100
    max_mirrored_endpoints: int = 1000
    legacy_token_period: float = 365 * 86400.0
    autoscaler_period: float = 15.0
    autoscaler_tolerance: float = 0.1
    autoscaler_downscale_window: float = 300.0
    autoscaler_cpu_period: float = 300.0
    autoscaler_readiness_delay: float = 30.0
