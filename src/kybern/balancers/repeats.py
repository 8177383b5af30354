"""When to announce again: at once when an address is taken over, and a few times after, since frames get lost. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from kybern.machinery.pools import Address

AFTER = (0.0, 0.5, 1.0, 2.0, 4.0)  # seconds since it was taken over


@dataclass(slots=True)
class Repeats:
    """The addresses that are announced, and what is due for each."""

    _due: dict[Address, list[float]] = field(default_factory=dict)

    @property
    def addresses(self) -> frozenset[Address]:
        return frozenset(self._due)

    def keep(self, addresses: Iterable[Address], now: float) -> tuple[frozenset[Address], frozenset[Address]]:
        """Announce these and no others; gives those that came, and those that went."""
        wanted = frozenset(addresses)
        came, went = wanted - self.addresses, self.addresses - wanted
        for one in went:
            del self._due[one]
        for one in came:
            self._due[one] = [now + after for after in AFTER]
        return came, went

    def due(self, now: float) -> tuple[Address, ...]:
        """Those to announce now; each time counts once."""
        found = []
        for address, times in self._due.items():
            if times and times[0] <= now:
                self._due[address] = [at for at in times if at > now]
                found.append(address)
        return tuple(found)
