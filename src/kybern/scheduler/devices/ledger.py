"""What allocated claims have taken: devices, shared counters, parts of shared devices. Pure.

The scheduler's own allocations count from the moment at which it decides, before the API server knows them.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from kybern.api.resource_v1 import AllocationResult, ResourceClaim
from kybern.machinery.quantity import parse
from kybern.scheduler.devices.pools import DeviceId


@dataclass(slots=True)
class Taken:
    """``shares`` is how much of each capacity of a shared device is taken, in billionths."""

    devices: set[DeviceId] = field(default_factory=set)
    shares: dict[DeviceId, Counter[str]] = field(default_factory=dict)

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


@dataclass(slots=True)
class Ledger:
    """``pending`` are allocations by the uid of their claims, until the cache has them or they are given back."""

    pending: dict[str, AllocationResult] = field(default_factory=dict)

    def taken(self, claims: Iterable[ResourceClaim]) -> Taken:
        found, known = Taken(), set()
        for claim in claims:
            if claim.status.allocation is not None:
                known.add(claim.metadata.uid)
                found.add(claim.status.allocation)
        self.pending = {uid: one for uid, one in self.pending.items() if uid not in known}
        for allocation in self.pending.values():
            found.add(allocation)
        return found

    def take(self, given: Mapping[str, AllocationResult]) -> None:
        self.pending |= given

    def give_back(self, uids: Iterable[str]) -> None:
        for uid in uids:
            self.pending.pop(uid, None)
