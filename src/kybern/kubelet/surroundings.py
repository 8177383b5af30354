"""What every pod's worker works with: one record, made once by the daemon."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

from kybern.api.core_v1 import Pod, Service
from kybern.kubelet import backoff
from kybern.kubelet.admit import Room
from kybern.kubelet.cgroups import Cgroups
from kybern.kubelet.cpus.pinning import Pinning
from kybern.kubelet.cri import Runtime
from kybern.kubelet.devices.allocation import Devices
from kybern.kubelet.dra.preparing import Claims
from kybern.kubelet.fields import Place
from kybern.kubelet.images.pull import Images
from kybern.kubelet.memory.holding import Memory
from kybern.kubelet.names import Resolver
from kybern.kubelet.objects import ApiObjects
from kybern.kubelet.runtime import Actual
from kybern.kubelet.spec import Machine
from kybern.kubelet.topology.alignment import Alignment
from kybern.kubelet.unseen import PERIOD
from kybern.kubelet.user_namespaces import UserNamespaces
from kybern.kubelet.voice import Voice
from kybern.kubelet.volumes.kept import Kept


@dataclass(slots=True)
class Network:
    """Whether the runtime's network is ready, kept up to date by the node's own loop."""

    ready: bool = True
    message: str = ""


@dataclass(slots=True)
class Pressures:
    """The conditions that tell what the node is short of (MemoryPressure ...), kept up to date by eviction."""

    conditions: tuple[str, ...] = ()


@dataclass(slots=True)
class Closing:
    """Whether the node is going down: pods are refused then, and it is not ready. Kept up to date by the watch for it."""

    now: bool = False

    @property
    def problem(self) -> str:
        return "node is shutting down" if self.now else ""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """``services`` gives the services, once they are known; ``resolver`` the node's resolv.conf.

    ``rules`` is what pods may ask for.
    """

    runtime: Runtime
    voice: Voice
    objects: ApiObjects
    volumes: Kept
    images: Images
    cgroups: Cgroups
    machine: Machine
    alignment: Alignment
    claims: Claims
    users: UserNamespaces
    host_ips: tuple[str, ...]
    services: Callable[[], Awaitable[tuple[Service, ...]]]
    resolver: Callable[[], Resolver]
    allocatable: tuple[int, int, int] = (0, 0, 0)
    cluster_dns: tuple[str, ...] = ()
    container_logs: Path = Path("/var/log/containers")
    network: Network = field(default_factory=Network)
    pressures: Pressures = field(default_factory=Pressures)
    closing: Closing = field(default_factory=Closing)
    rules: Room = field(default_factory=Room)
    restart_most: float = backoff.LAST
    """The longest that a container waits between two runs."""
    unseen_for: float = PERIOD
    """How long a container with stdin has to be seen running before it is told of, in seconds."""

    @property
    def devices(self) -> Devices:
        return self.alignment.devices

    @property
    def cpus(self) -> Pinning:
        return self.alignment.cpus

    @property
    def memory(self) -> Memory:
        return self.alignment.memory

    def place(self, pod: Pod, actual: Actual) -> Place:
        """What the pod may learn of where it runs."""
        sandbox = actual.sandbox
        ips = sandbox.ips if sandbox is not None else ()
        if pod.spec.host_network:
            ips = self.host_ips
        cpu, memory, storage = self.allocatable
        return Place(self.machine.node, self.host_ips, ips, cpu, memory, storage)
