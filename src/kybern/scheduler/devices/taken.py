"""What allocated claims have taken: devices, shared counters, parts of shared devices. Pure.

The scheduler's own allocations are among them from the moment at which it decides: see ``Objects.hold``.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from kybern.api.resource_v1 import AllocationResult, ResourceClaim
from kybern.machinery.quantity import parse
from kybern.scheduler.devices.pools import DeviceId


@dataclass(slots=True)
class Taken:
    """``shares`` is how much of each capacity of a shared device is taken, in billionths."""

    devices: set[DeviceId] = field(default_factory=set)
    shares: dict[DeviceId, Counter[str]] = field(default_factory=dict)

    @classmethod
    def by(cls, claims: Iterable[ResourceClaim]) -> "Taken":
        found = cls()
        for claim in claims:
            if claim.status.allocation is not None:
                found.add(claim.status.allocation)
        return found

    def add(self, allocation: AllocationResult) -> None:
        for one in allocation.devices.results if allocation.devices is not None else ():
            if one.admin_access:
                continue
            device = DeviceId(one.driver, one.pool, one.device)
            if one.share_id:
                share = self.shares.setdefault(device, Counter())
                for name, amount in one.consumed_capacity.items():
                    share[name] += parse(amount).nano
            else:
                self.devices.add(device)
