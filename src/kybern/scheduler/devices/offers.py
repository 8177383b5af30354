"""What drivers offer and what is left of it, at the time of one attempt. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from kybern.api.core_v1 import Node
from kybern.api.resource_v1 import AllocationResult, DeviceClass, ResourceClaim, ResourceSlice
from kybern.scheduler.devices.allocate import Choice, NotHere, Search, TooHard
from kybern.scheduler.devices.pools import Pool, gather
from kybern.scheduler.devices.selectors import Selectors, Unclear
from kybern.scheduler.devices.taken import Taken
from kybern.scheduler.devices.wishes import Unfulfillable
from kybern.scheduler.objects import Objects

NAME = "DynamicResources"
NOT_ALL = "cannot allocate all claims"


@dataclass(slots=True)
class Kept:
    """From one attempt to the next: what selectors said, and allocations that took too long, by the uid of the claim."""

    selectors: Selectors = field(default_factory=Selectors)
    given_up: dict[str, AllocationResult] = field(default_factory=dict)

    @staticmethod
    def of(objects: Objects) -> "Kept":
        found: Kept = objects.kept.setdefault(NAME, Kept())
        return found


@dataclass(frozen=True, slots=True)
class Offers:
    """The devices that there are and what is left of them, at the time of one attempt."""

    objects: Objects
    pools: Sequence[Pool]
    taken: Taken
    selectors: Selectors

    @classmethod
    def of(cls, objects: Objects) -> "Offers":
        taken = Taken.by(objects.all(ResourceClaim))
        return cls(objects, gather(objects.all(ResourceSlice)), taken, Kept.of(objects).selectors)

    def search(self, open_claims: Sequence[ResourceClaim], node: Node) -> tuple[Sequence[Choice] | None, str]:
        """Devices of the node for all claims; or None, and what is said of the node."""
        search = Search(open_claims, node, self.pools, self.taken, self.device_class, self.selectors)
        try:
            return search.run(), NOT_ALL
        except (Unclear, NotHere, TooHard, Unfulfillable) as problem:
            return None, str(problem)

    def device_class(self, name: str) -> DeviceClass | None:
        return self.objects.get(DeviceClass, name)
