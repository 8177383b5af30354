"""What scheduling needs to know of a pod, computed once. Pure."""

from collections.abc import Hashable
from dataclasses import dataclass

from kybern.api.core_v1 import Pod
from kybern.loop.claims import by_claim
from kybern.scheduler import requests
from kybern.scheduler.groups import Affinities, Looks
from kybern.scheduler.requests import Amounts

ANY_ADDRESS = "0.0.0.0"  # what a host port without an address means


@dataclass(frozen=True, slots=True, order=True)
class HostPort:
    protocol: str
    number: int
    address: str = ANY_ADDRESS


@dataclass(frozen=True, slots=True)
class PodFacts:
    """A pod, what it asks for (``usual``: CPU and memory for scores), and what else of it concerns nodes and other pods.

    ``amounts`` are the same for pods that ask for the same. ``claims`` are those behind its volumes, as namespace/name.
    """

    pod: Pod
    asked: Amounts
    usual: tuple[int, int]
    ports: tuple[HostPort, ...]
    looks: Looks
    affinities: Affinities
    claims: tuple[str, ...]
    amounts: Hashable

    @classmethod
    def of(cls, pod: Pod) -> "PodFacts":
        asked, usual = requests.of_pod(pod), requests.usual(pod)
        return cls(
            pod,
            asked,
            usual,
            host_ports(pod),
            Looks.of(pod),
            Affinities.of(pod),
            tuple(by_claim(pod)),
            (*asked.items(), usual),
        )

    @property
    def uid(self) -> str:
        return self.pod.metadata.uid

    @property
    def priority(self) -> int:
        return self.pod.spec.priority or 0


def host_ports(pod: Pod) -> tuple[HostPort, ...]:
    """Of containers and sidecars; init containers have theirs before anything else runs."""
    sidecars = (one for one in pod.spec.init_containers if one.restart_policy == "Always")
    found = {
        HostPort(port.protocol or "TCP", port.host_port, port.host_ip or ANY_ADDRESS)
        for one in (*pod.spec.containers, *sidecars)
        for port in one.ports
        if port.host_port
    }
    return tuple(sorted(found))
