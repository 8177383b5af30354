"""What the controllers are told by the command line, as data; defaults are upstream's. Seconds for all times."""

from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network


@dataclass(frozen=True, slots=True)
class CloudSettings:
    cluster: str = "kubernetes"
    cluster_cidrs: tuple[IPv4Network | IPv6Network, ...] = ()
    node_monitor_period: float = 5.0
    node_status_update_frequency: float = 300.0
    route_reconciliation_period: float = 10.0
    concurrent_node_syncs: int = 1
    concurrent_service_syncs: int = 1
