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
class Pending:
    """``version`` is that of the claim which bears the allocation; 0 until it is written."""

    allocation: AllocationResult
    version: int = 0


@dataclass(slots=True)
class Ledger:
    """``pending`` are allocations by the uid of their claims, until the cache has seen them or they are given back."""

    pending: dict[str, Pending] = field(default_factory=dict)

    def taken(self, claims: Iterable[ResourceClaim]) -> Taken:
        """By the claims of the cache, and by what it does not know yet."""
        found, waiting = Taken(), {}
        for claim in claims:
            pending = self.pending.get(claim.metadata.uid)
            if claim.status.allocation is not None:
                found.add(claim.status.allocation)
            elif pending is not None and not _saw(claim, pending):
                waiting[claim.metadata.uid] = pending
                found.add(pending.allocation)
        self.pending = waiting
        return found

    def take(self, given: Mapping[str, AllocationResult]) -> None:
        self.pending |= {uid: Pending(one) for uid, one in given.items()}

    def written(self, claim: ResourceClaim) -> None:
        """The API server has it."""
        pending = self.pending.get(claim.metadata.uid)
        if pending is not None:
            pending.version = int(claim.metadata.resource_version or 0)

    def give_back(self, uids: Iterable[str]) -> None:
        for uid in uids:
            self.pending.pop(uid, None)


def _saw(claim: ResourceClaim, pending: Pending) -> bool:
    """Whether the cache's claim is at least as new as the one that bore the allocation: somebody has taken it away since."""
    return bool(pending.version) and int(claim.metadata.resource_version or 0) >= pending.version
