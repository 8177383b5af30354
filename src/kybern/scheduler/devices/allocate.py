"""Find devices for all wishes of several claims on one node: a search in depth that takes the first way that works. Pure.

Devices are tried in the order of pools, slices and the list within; a wish's alternatives in the order in which they are
asked for. What was chosen is put back when no way leads on from it. A search that takes more than STEPS is given up: it
would keep all other pods waiting.

Shared counters of a pool are those that its slices set out, less what devices take that are in use by anybody.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from kybern.api.core_v1 import Node
from kybern.api.resource_v1 import DeviceConstraint, ResourceClaim
from kybern.machinery.quantity import Quantity, parse
from kybern.scheduler.devices.capacity import consumed
from kybern.scheduler.devices.constraints import holds, tolerable
from kybern.scheduler.devices.pools import CounterId, DeviceId, Offer, Pool, reaches
from kybern.scheduler.devices.selectors import Selectors
from kybern.scheduler.devices.taken import Taken
from kybern.scheduler.devices.wishes import Alternative, Classes, Wish, wishes

STEPS = 200_000
MOST = 32  # devices of one claim (upstream: AllocationResultsMaxSize)


class TooHard(Exception):
    """The search was given up."""


class NotHere(Exception):
    """This node cannot be judged, others may; says why in upstream's words."""


@dataclass(frozen=True, slots=True)
class Choice:
    """A device for a claim. ``share`` is what it takes of one that others may have too; None of one's own device."""

    claim: int
    wish: Alternative
    offer: Offer
    share: dict[str, Quantity] | None = None


@dataclass(slots=True)
class Search:
    """One node's. ``steps`` counts what was tried."""

    claims: Sequence[ResourceClaim]
    node: Node
    pools: Sequence[Pool]
    taken: Taken
    classes: Classes
    selectors: Selectors
    steps: int = 0
    _chosen: list[Choice] = field(default_factory=list)
    _users: Counter[DeviceId] = field(default_factory=Counter)
    _shares: defaultdict[DeviceId, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    _counters: Counter[CounterId] = field(default_factory=Counter)
    _fitting: dict[str, list[Offer]] = field(default_factory=dict)
    _near: tuple[Pool, ...] = ()

    def run(self) -> list[Choice] | None:
        """The devices, or None when there is no way. Raises Unfulfillable, Unclear, NotHere, TooHard."""
        plan = [
            (number, wish) for number, claim in enumerate(self.claims) for wish in wishes(claim, self.classes)
        ]
        self._near = tuple(pool for pool in self.pools if any(reaches(one, self.node) for one in pool.offers))
        self._count_counters()
        if self._place(plan, 0):
            return self._chosen
        if any(not pool.valid for pool in self._near):
            raise NotHere("invalid resource pools were encountered")
        return None

    def _count_counters(self) -> None:
        """What is left of shared counters."""
        for pool in self._near:
            self._counters.update(pool.counters)
            for offer in pool.offers:
                if offer.id in self.taken.devices or offer.id in self.taken.shares:
                    self._counters.subtract(dict(offer.consumes()))

    def _place(self, plan: list[tuple[int, Wish]], at: int) -> bool:
        if at == len(plan):
            return True
        claim, wish = plan[at]
        for alternative in wish:
            key = f"{claim}/{alternative.name}"
            fitting = self._fitting.get(key)
            if fitting is None:
                fitting = self._fitting[key] = list(self._fit(alternative))
            if alternative.count:
                if self._some(plan, at, alternative, fitting, 0, alternative.count):
                    return True
            elif self._all(plan, at, alternative, fitting):
                return True
        return False

    def _fit(self, wish: Alternative) -> Iterator[Offer]:
        """The devices that the node can use and the wish selects, whoever has them."""
        for pool in self._near:
            if not pool.valid or (not wish.count and not pool.complete):
                if pool.valid:
                    raise NotHere("asks for all devices, but resource pool is currently being updated")
                continue
            for offer in pool.offers:
                if (
                    reaches(offer, self.node)
                    and tolerable(offer.device.taints, wish.tolerations)
                    and self.selectors.match(wish.selectors, offer)
                ):
                    yield offer

    def _some(
        self,
        plan: list[tuple[int, Wish]],
        at: int,
        wish: Alternative,
        fitting: list[Offer],
        start: int,
        count: int,
    ) -> bool:
        """``count`` of the devices from ``start`` on, and then the rest of the plan."""
        if not count:
            return self._place(plan, at + 1)
        for index in range(start, len(fitting)):
            choice = self._take(plan[at][0], wish, fitting[index])
            if choice is not None:
                if self._some(plan, at, wish, fitting, index + 1, count - 1):
                    return True
                self._put_back(choice)
        return False

    def _all(self, plan: list[tuple[int, Wish]], at: int, wish: Alternative, fitting: list[Offer]) -> bool:
        choices: list[Choice] = []
        for offer in fitting:
            choice = self._take(plan[at][0], wish, offer)
            if choice is None:
                break
            choices.append(choice)
        if fitting and len(choices) == len(fitting) and self._place(plan, at + 1):
            return True
        for choice in reversed(choices):
            self._put_back(choice)
        return False

    def _take(self, claim: int, wish: Alternative, offer: Offer) -> Choice | None:
        self.steps += 1
        if self.steps > STEPS:
            raise TooHard("timed out trying to allocate devices")
        if sum(1 for one in self._chosen if one.claim == claim) >= MOST:
            return None
        amounts = consumed(offer.device, wish.capacity, offer.id.driver)
        if amounts is None or not self._is_free(wish, offer, amounts):
            return None
        shared = bool(offer.device.allow_multiple_allocations) and not wish.admin
        choice = Choice(claim, wish, offer, dict(amounts) if shared else None)
        together = [(one.wish, one.offer) for one in (*self._chosen, choice) if one.claim == claim]
        if not all(holds(one, together) for one in self._constraints(claim)):
            return None
        self._note(choice, 1)
        self._chosen.append(choice)
        return choice

    def _is_free(self, wish: Alternative, offer: Offer, amounts: Mapping[str, Quantity]) -> bool:
        device = offer.id
        if wish.admin:
            return True
        if device in self.taken.devices or (
            self._users[device] and not offer.device.allow_multiple_allocations
        ):
            return False
        if not self._shared(device) and any(self._counters[name] < cost for name, cost in offer.consumes()):
            return False
        if not offer.device.allow_multiple_allocations:
            return True
        others = self.taken.shares.get(device, Counter[str]()) + self._shares[device]
        capacity = offer.device.capacity
        return all(
            others[name] + amount.nano <= parse(capacity[name].value).nano for name, amount in amounts.items()
        )

    def _shared(self, device: DeviceId) -> bool:
        """Whether somebody has a part of it already: its counters are paid for."""
        return device in self.taken.shares or self._users[device] > 0

    def _note(self, choice: Choice, sign: int) -> None:
        """Count what is taken; ``sign`` -1 takes it back."""
        if choice.wish.admin:
            return
        device = choice.offer.id
        before = self._shared(device)
        self._users[device] += sign
        for name, amount in (choice.share or {}).items():
            self._shares[device][name] += sign * amount.nano
        if before != self._shared(device):
            for counter, cost in choice.offer.consumes():
                self._counters[counter] -= sign * cost

    def _put_back(self, choice: Choice) -> None:
        self._chosen.remove(choice)
        self._note(choice, -1)

    def _constraints(self, claim: int) -> Iterable[DeviceConstraint]:
        devices = self.claims[claim].spec.devices
        return devices.constraints if devices is not None else ()
