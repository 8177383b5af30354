"""Who has what several services ask for, such as an address: the first by name; when that one goes, the next. Pure."""

from collections.abc import Hashable, Iterable

from kybern.proxy.ruleset import Key


class Claims[K: Hashable]:
    """Services by what they ask for."""

    def __init__(self) -> None:
        self._services: dict[K, tuple[Key, ...]] = {}

    def move(self, service: Key, before: set[K], now: set[K]) -> set[Key]:
        """A service asks for other things than before. Gives the services that lost or got one by it."""
        touched: set[Key] = set()
        for asked in before - now:
            touched |= self._claim(asked, tuple(one for one in self._services[asked] if one != service))
        for asked in now - before:
            touched |= self._claim(asked, tuple(sorted((*self._services.get(asked, ()), service))))
        return touched

    def taken(self, service: Key, asked: Iterable[K]) -> frozenset[K]:
        """Of what a service asks for, what others have."""
        return frozenset(one for one in asked if self._services[one][0] != service)

    def _claim(self, asked: K, services: tuple[Key, ...]) -> set[Key]:
        old = self._services.get(asked, ())
        if services:
            self._services[asked] = services
        else:
            del self._services[asked]
        return {*old[:1], *services[:1]} if old[:1] != services[:1] else set()
