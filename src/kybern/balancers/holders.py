"""Who holds an address, when one is to be given away: the cache, and what it may not have seen yet. Pure.

A cache may lag behind. What could be missing in it are addresses that a leader before gave, and what this process wrote and
got no answer to. So the API server itself is asked once a process leads, and again where the round before gave or took an
address and the cache still shows that service as it was. A write that names that version (all do) has either arrived by
then, or never will once the cache shows another one. Everything else that happens meanwhile can only make addresses free.

So a thousand services cost one list, and not one each.
"""

from dataclasses import dataclass

from kybern.api.core_v1 import Service
from kybern.balancers.wishes import held
from kybern.loop.controller import Key, View

HOLDING = "balancers-holding"  # the cache's index of services that hold an address


@dataclass(slots=True)
class Holders:
    """For one process while it leads, with one worker.

    ``asked`` are those whose addresses the API server told of, as long as the cache is behind it; None before it was asked.
    ``written`` is the service that the round before wrote to, and the version that it had.
    """

    asked: dict[Key, Service] | None = None
    written: tuple[Key, str] | None = None

    def others(self, view: View, key: Key, *, afresh: bool = False) -> tuple[Service, ...]:
        """All other services that hold an address; ``afresh`` asks the API server whatever is known."""
        if self.asked is None or afresh or not self._has_arrived(view):
            self.asked = {key_of(one): one for one in view.live_list(Service, "") if held(one)}
            self.written = None
        found = {key_of(one): one for one in view.index(Service, HOLDING, "yes")}
        for other, told in tuple(self.asked.items()):
            if _is_newer(told, view.get(Service, other.namespace, other.name)):
                found[other] = told
            else:
                del self.asked[other]  # the cache has caught up, and knows better from now on
        found.pop(key, None)
        return tuple(found.values())

    @property
    def are_doubtful(self) -> bool:
        """Whether some are known from the API server alone, which may be gone by now."""
        return bool(self.asked)

    def wrote(self, service: Service) -> None:
        """This round changes the status of a service; ``service`` is as it was."""
        self.written = key_of(service), service.metadata.resource_version

    def _has_arrived(self, view: View) -> bool:
        if self.written is None:
            return True
        key, version = self.written
        seen = view.get(Service, key.namespace, key.name)
        return seen is None or seen.metadata.resource_version != version


def key_of(service: Service) -> Key:
    return Key(service.metadata.namespace, service.metadata.name)


def _is_newer(told: Service, seen: Service | None) -> bool:
    if seen is None:
        return True
    versions = told.metadata.resource_version, seen.metadata.resource_version
    # Versions are numbers that grow (KEP-5504); what is none says nothing, and the API server was asked.
    if not all(one.isdecimal() for one in versions):
        return versions[0] != versions[1]
    return int(versions[0]) > int(versions[1])
