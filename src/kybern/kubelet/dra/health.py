"""What drivers tell of the health of their devices (KEP-4680, dra-health v1alpha1), and what containers hear of it. Pure.

A device whose driver has not told of it for as long as it said itself (half a minute if it said nothing) is Unknown again,
and so are all devices of a driver that is gone. Times are of a clock that does not step.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from kybern.api.core_v1 import Container, ResourceHealth, ResourceStatus
from kybern.kubelet.dra.claims import Device, Prepared, of_container, wanted

HEALTHY, UNHEALTHY, UNKNOWN = "Healthy", "Unhealthy", "Unknown"
# Upstream's DefaultHealthTimeout.
DEFAULT_TIMEOUT = 30.0
_LONGEST = 1024
PREFIX = "claim:"
"""How the names of claims begin among the resources of a container's status."""

type Key = tuple[str, str, str]
"""Driver, pool and name of a device."""


@dataclass(frozen=True, slots=True)
class Told:
    """What a driver told of a device, and until when that counts."""

    health: str
    message: str = ""
    until: float = 0.0


def shortened(message: str) -> str:
    """No longer than a status may hold."""
    return message if len(message) <= _LONGEST else f"{message[: _LONGEST - 3]}..."


class Health:
    """What is known of all devices. Every change returns the devices that are worth something else by it."""

    def __init__(self) -> None:
        self._known: dict[Key, Told] = {}

    def update(self, driver: str, told: Mapping[tuple[str, str], Told], now: float) -> frozenset[Key]:
        """A driver told of its devices (by pool and name); of those that it left out, the last counts while it may."""
        before = dict(self._known)
        self._known |= {(driver, pool, name): one for (pool, name), one in told.items()}
        return self._changes(before) | self.expire(now)

    def expire(self, now: float) -> frozenset[Key]:
        """Forget what nobody told again in time."""
        before = dict(self._known)
        self._known = {key: one for key, one in self._known.items() if one.until > now}
        return self._changes(before)

    def forget(self, driver: str) -> frozenset[Key]:
        """A driver is gone."""
        before = dict(self._known)
        self._known = {key: one for key, one in self._known.items() if key[0] != driver}
        return self._changes(before)

    def _changes(self, before: Mapping[Key, Told]) -> frozenset[Key]:
        def shown(known: Mapping[Key, Told], key: Key) -> tuple[str, str]:
            one = known.get(key, Told(UNKNOWN))
            return one.health, one.message

        every = before.keys() | self._known.keys()
        return frozenset(key for key in every if shown(before, key) != shown(self._known, key))

    @property
    def next_expiry(self) -> float | None:
        """When something will be forgotten."""
        return min((one.until for one in self._known.values()), default=None)

    def of(self, key: Key) -> Told:
        return self._known.get(key, Told(UNKNOWN))


def statuses(
    container: Container, by_alias: Mapping[str, Prepared], health: Health
) -> tuple[ResourceStatus, ...]:
    """What a container is told of its claims' devices; nothing of a claim that is not prepared."""
    found: dict[str, tuple[ResourceHealth, ...]] = {}
    for each in of_container(container):
        claim = by_alias.get(each.name)
        if claim is not None and claim.done:
            name = f"{PREFIX}{each.name}/{each.request}" if each.request else f"{PREFIX}{each.name}"
            found[name] = tuple(_one(device, health) for device in wanted(each, claim))
    return tuple(ResourceStatus(name=name, resources=each) for name, each in found.items() if each)


def _one(device: Device, health: Health) -> ResourceHealth:
    key = (device.driver, device.pool, device.device)
    told = health.of(key)
    shown = device.names[0] if device.names else "/".join(key)
    return ResourceHealth(resource_id=shown, health=told.health, message=told.message)


def kept(before: Iterable[ResourceStatus]) -> tuple[ResourceStatus, ...]:
    """What was told of claims last, for a pod whose claims are taken back: its end does not make it untrue."""
    return tuple(one for one in before if one.name.startswith(PREFIX))
