"""What the watches have seen, by service, and which services changed since the rules were last made.

Three lists are needed before anything may be decided: services, their slices, and this node (for its zone).
"""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from ipaddress import ip_address

from kybern.api.core_v1 import Node, Service
from kybern.api.discovery_v1 import EndpointSlice
from kybern.machinery.struct import Object
from kybern.proxy import metrics
from kybern.proxy.healthz import is_eligible
from kybern.proxy.model import SERVICE_NAME, ServicePort, service_ports
from kybern.proxy.ruleset import Key
from kybern.proxy.topology import Place

ZONE = "topology.kubernetes.io/zone"
TRIGGERED = "endpoints.kubernetes.io/last-change-trigger-time"  # when what a slice tells of has happened
type Watched = Service | EndpointSlice | Node


@dataclass(slots=True)
class State:
    """``put`` and ``drop`` note what changed, ``take`` gives it; ``changed`` is set while there is something to take.

    ``eligible`` says whether new connections should come to this node. ``addresses`` are its own, ``versions`` those of IP
    that are served. ``triggered`` are the times of what changed, in seconds since 1970, until somebody takes them.
    """

    place: Place
    versions: tuple[int, ...] = (4,)
    services: dict[Key, Service] = field(default_factory=dict)
    slices: dict[Key, dict[str, EndpointSlice]] = field(default_factory=dict)
    touched: set[Key] = field(default_factory=set)
    synced: set[type] = field(default_factory=set)
    addresses: tuple[str, ...] = ()
    eligible: bool = True
    triggered: list[float] = field(default_factory=list)
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def families(self) -> tuple[str, ...]:
        """Those that are served, as metrics name them."""
        return tuple(f"IPv{version}" for version in self.versions)

    @property
    def is_complete(self) -> bool:
        return self.synced == {Service, EndpointSlice, Node}

    def sync(self, kind: type[Watched], items: Iterable[Watched]) -> None:
        """The first list of a kind."""
        for item in items:
            self.put(item, None)
        self.synced.add(kind)
        self.changed.set()

    def put(self, new: Watched, old: Watched | None) -> None:
        if old is not None and _is_same(new, old):
            return
        match new:
            case Service():
                self.services[_key(new)] = new
                self._touch(_key(new), "service")
            case EndpointSlice():
                if isinstance(old, EndpointSlice) and owner(old) != owner(new):
                    self.drop(old)
                if (owned := owner(new))[1]:
                    self.slices.setdefault(owned, {})[new.metadata.name] = new
                    self.triggered += _triggered(new)
                    self._touch(owned, "endpoint")
            case Node():
                self._move(new.metadata.labels.get(ZONE, ""))
                self._settle(new)
                self.eligible = is_eligible(new)

    def drop(self, item: Watched) -> None:
        match item:
            case Service():
                self.services.pop(_key(item), None)
                self._touch(_key(item), "service")
            case EndpointSlice():
                if parts := self.slices.get(owned := owner(item)):
                    parts.pop(item.metadata.name, None)
                    if not parts:
                        del self.slices[owned]
                    self._touch(owned, "endpoint")
            case Node():
                self._move("")

    def take(self) -> set[Key]:
        touched, self.touched = self.touched, set()
        metrics.taken()
        self.changed.clear()
        return touched

    def ports(self, service: Key) -> tuple[ServicePort, ...]:
        """What is to be served of a service now; nothing for one that is gone."""
        if (found := self.services.get(service)) is None:
            return ()
        return service_ports(found, self.slices.get(service, {}).values(), self.place, self.versions)

    def _touch(self, service: Key, kind: str) -> None:
        metrics.seen(kind, self.families)
        self.touched.add(service)
        self.changed.set()

    def _move(self, zone: str) -> None:
        if zone != self.place.zone:
            # Hints may now be for us that were not, in any service.
            self.place = Place(self.place.node, zone)
            self.touched |= self.services.keys()
            self.changed.set()

    def _settle(self, node: Node) -> None:
        """The node's addresses, those within the cluster first (GetNodeHostIPs of upstream's k8s.io/component-helpers)."""
        told = node.status.addresses
        found = tuple(
            one.address
            for kind in ("InternalIP", "ExternalIP")
            for one in told
            if one.type == kind and _is_address(one.address)
        )
        if found != self.addresses:
            self.addresses = found
            self.changed.set()


def owner(part: EndpointSlice) -> Key:
    """The service that a slice is for; its name is "" when it is for none."""
    return part.metadata.namespace, part.metadata.labels.get(SERVICE_NAME, "")


def _key(one: Service) -> Key:
    return one.metadata.namespace, one.metadata.name


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def _triggered(part: EndpointSlice) -> list[float]:
    try:
        return [datetime.fromisoformat(part.metadata.annotations[TRIGGERED]).timestamp()]
    except (KeyError, ValueError):
        return []


def _is_same(new: Object, old: Object) -> bool:
    """Whether only metadata that no rule depends on has changed."""
    fields = (name for name in new.__struct_fields__ if name != "metadata")
    new_meta, old_meta = getattr(new, "metadata"), getattr(old, "metadata")  # noqa: B009  # every Object has metadata
    return new_meta.labels == old_meta.labels and all(
        getattr(new, name) == getattr(old, name) for name in fields
    )
