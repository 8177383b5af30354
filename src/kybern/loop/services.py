"""Which pods a service stands for, and on which ports; pure, and the same for Endpoints and EndpointSlices."""

from collections.abc import Iterable
from datetime import datetime

from kybern.api.core_v1 import Pod, Service, ServicePort
from kybern.loop.controller import Key, View
from kybern.loop.labels import LABEL, SELECTOR, asking, bearing, by_label, by_selector
from kybern.loop.pods import condition, is_terminal

HEADLESS = "service.kubernetes.io/headless"
TRIGGER = "endpoints.kubernetes.io/last-change-trigger-time"


INDEXES = ((Pod, LABEL, by_label), (Service, SELECTOR, by_selector(lambda service: service.spec.selector)))
"""What a controller has to declare that uses the functions below."""


def selects(service: Service, pod: Pod) -> bool:
    """A service without a selector selects nothing: its endpoints are someone else's."""
    labels = pod.metadata.labels
    return bool(service.spec.selector) and all(
        labels.get(key) == value for key, value in service.spec.selector.items()
    )


def services_of(pod: Pod, view: View) -> Iterable[Key]:
    """The services that a pod belongs to, as keys to wake."""
    for service in asking(view, Service, pod.metadata.namespace, pod.metadata.labels):
        if selects(service, pod):
            yield Key(service.metadata.namespace, service.metadata.name)


def candidates(service: Service, view: View, *, terminating: bool) -> tuple[Pod, ...]:
    """The pods with an address that a service may send to, by name; with those that are going away or without."""
    if not service.spec.selector:
        return ()
    found = (
        pod
        for pod in bearing(view, Pod, service.metadata.namespace, service.spec.selector)
        if selects(service, pod)
        and not is_terminal(pod)
        and pod.status.pod_ip
        and (
            terminating
            or pod.metadata.deletion_timestamp is None
            or bool(service.spec.publish_not_ready_addresses)
        )
    )
    return tuple(sorted(found, key=lambda pod: pod.metadata.name))


def is_headless(service: Service) -> bool:
    return service.spec.cluster_ip in {"", "None"}


def port_of(pod: Pod, port: ServicePort) -> int | None:
    """The number of a service's port in a pod; None when the pod does not have the port of that name."""
    target = port.target_port
    if not isinstance(target, str):
        return target if target is not None else port.port
    sidecars = (one for one in pod.spec.init_containers if one.restart_policy == "Always")
    for container in (*pod.spec.containers, *sidecars):
        for found in container.ports:
            if found.name == target and (found.protocol or "TCP") == (port.protocol or "TCP"):
                return found.container_port
    return None


def hostname_of(pod: Pod, service: Service) -> str:
    """The name under which DNS shows the pod, when it has one of its own in this service."""
    same = (
        pod.spec.subdomain == service.metadata.name and pod.metadata.namespace == service.metadata.namespace
    )
    return pod.spec.hostname if pod.spec.hostname and same else ""


def triggered(service: Service, pods: Iterable[Pod]) -> datetime | None:
    """When the newest of the changes happened that endpoints follow: what latency is measured from."""
    found = [condition(pod, "Ready") for pod in pods]
    times = [
        one.last_transition_time for one in found if one is not None and one.last_transition_time is not None
    ]
    if service.metadata.creation_timestamp is not None:
        times.append(service.metadata.creation_timestamp)
    return max(times, default=None)
