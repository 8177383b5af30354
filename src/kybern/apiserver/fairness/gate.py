"""Before a request is judged, it needs a seat: of the level of the first flow schema that speaks of it.

What a request belongs to is looked up under user, verb, resource and namespace, and worked out at the first of each.
"""

import asyncio
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import msgspec

from kybern.api.flowcontrol_v1 import (
    FlowSchema,
    PriorityLevelConfiguration,
    PriorityLevelConfigurationSpec,
)
from kybern.apiserver import bootstrap
from kybern.apiserver.bootstrap import FLOW_CONTROL, MANDATORY
from kybern.apiserver.fairness import matching, shares
from kybern.apiserver.fairness.hands import hand
from kybern.apiserver.fairness.numbers import TOLD, Numbers
from kybern.apiserver.fairness.queues import Flow, Level, Queuing, Seat
from kybern.apiserver.lookup import Informers
from kybern.auth.attributes import Attributes
from kybern.machinery.struct import Object, decoder

MOST_FLOWS = 20_000
"""Requests that are known by user, verb, resource and namespace; all are forgotten beyond it."""
CATCH_ALL = "catch-all"
_LOOK_SECONDS = 10.0
_PER_SEAT, _WIDEST = 100, 10  # objects of a list for each seat, and the most seats
_WIDEST_PART = 0.15  # of a level's own seats

type Stored = Callable[[str, str], int]
"""How many objects of a group's resource there are; 0 when nobody has asked yet."""


@cache
def _usual[T](kind: type[T], plural: str) -> dict[str, T]:
    """The objects that the server cannot do without, as they are made at its start."""
    found = (one.object for one in bootstrap.wanted() if (one.group, one.plural) == (FLOW_CONTROL, plural))
    return {
        raw["metadata"]["name"]: msgspec.convert(raw, kind)
        for raw in found
        if raw["metadata"]["name"] in MANDATORY
    }


def width(verb: str, stored: int, limit: int, most: int) -> int:
    """Seats that a request takes: more than one only for a list of many objects. ``limit``: of its page, 0 for none."""
    if verb != "list":
        return 1
    objects = min(stored, limit) if limit else stored
    return max(1, min(-(-objects // _PER_SEAT), _WIDEST, max(1, int(most * _WIDEST_PART))))


class Fairness:
    """``total``: seats of the server. ``patience``: seconds that a request waits at most."""

    def __init__(self, total: int, patience: float, stored: Stored, clock: Callable[[], float]) -> None:
        self.total = total
        self.patience = patience
        self._stored = stored
        self._clock = clock
        self._schemas: dict[str, FlowSchema] = {}
        self._configured: dict[str, PriorityLevelConfiguration] = {}
        self._likely: dict[str, float] = {}
        self._flows: dict[tuple[object, ...], Flow] = {}
        self._numbers: dict[tuple[str, str], Numbers] = {}
        self.levels: dict[str, Level] = {}
        self._settle()

    def follow(self, informers: Informers) -> None:
        """Learns of schemas and levels, and lets metrics have what is counted."""
        informers.subscribe(FLOW_CONTROL, FlowSchema.plural, self.schema)
        informers.subscribe(FLOW_CONTROL, PriorityLevelConfiguration.plural, self.level)
        TOLD.follow(self._numbers, lambda: tuple(self.levels.values()))

    def take(self, asked: Attributes, query: Mapping[str, str]) -> Seat:
        """Raises Crowded."""
        user = asked.user
        key = (
            user.name,
            user.groups,
            asked.verb,
            asked.group,
            asked.resource,
            asked.subresource,
            asked.namespace or asked.path,
        )
        flow = self._flows.get(key)
        if flow is None:
            flow = self._flow(key, asked)
        wide = 1
        if asked.verb == "list":
            limit = query.get("limit", "")
            wide = width(
                "list",
                self._stored(asked.group, asked.resource),
                int(limit) if limit.isdecimal() else 0,
                flow.level.nominal,
            )
        return flow.level.take(flow, wide)

    def _flow(self, key: tuple[object, ...], asked: Attributes) -> Flow:
        if len(self._flows) >= MOST_FLOWS:
            self._flows.clear()
        # The last speaks of all, but for users without any group.
        schema = next((one for one in self._order if matching.matches(one, asked)), _catch_all())
        found = self._flows[key] = self._made(schema, matching.distinguisher(schema, asked))
        return found

    def _made(self, schema: FlowSchema, distinguisher: str) -> Flow:
        level = self.levels[schema.spec.priority_level_configuration.name]
        name, queuing = schema.metadata.name, level.queuing
        dealt = hand(name, distinguisher, queuing.queues, queuing.hand) if queuing else ()
        configured = self._configured.get(level.name)
        uids = (
            ("X-Kubernetes-PF-FlowSchema-UID", schema.metadata.uid),
            ("X-Kubernetes-PF-PriorityLevel-UID", configured.metadata.uid if configured else ""),
        )
        headers = tuple(pair for pair in uids if pair[1])
        numbers = self._numbers.setdefault((level.name, name), Numbers())
        return Flow(name, distinguisher, level, dealt, headers, numbers)

    def schema(self, old: bytes | None, new: bytes | None) -> None:
        """A flow schema was stored, changed or deleted."""
        _put(self._schemas, _SCHEMA, old, new)
        self._settle()

    def level(self, old: bytes | None, new: bytes | None) -> None:
        """A priority level was."""
        _put(self._configured, _LEVEL, old, new)
        self._settle()

    def _settle(self) -> None:
        """Bring the levels to what is configured. Those that are gone serve who waits in them, and nobody else."""
        configured = _usual(PriorityLevelConfiguration, "prioritylevelconfigurations") | self._configured
        bounds = shares.bounds(configured.values(), self.total)
        self.levels = {name: self.levels.get(name) or Level(name, self._clock) for name in configured}
        for name, level in self.levels.items():
            spec = configured[name].spec
            level.become(bounds[name], _queuing(spec), exempt=spec.type == shares.EXEMPT)
        schemas = _usual(FlowSchema, "flowschemas") | self._schemas
        self._order = [
            one
            for one in matching.in_order(schemas.values())
            if one.spec.priority_level_configuration.name in self.levels
        ]
        self._flows.clear()
        self._forget()

    def _forget(self) -> None:
        """What was counted of a schema that is gone, or goes to another level now; once no request of it is left."""
        known = (*self._order, _catch_all())
        there = {(one.spec.priority_level_configuration.name, one.metadata.name) for one in known}
        gone = [
            flow
            for flow, one in self._numbers.items()
            if flow not in there and not one.running and not one.waiting
        ]
        for flow in gone:
            del self._numbers[flow]

    def lend(self) -> None:
        """Share seats out anew by what was asked for since the last time."""
        self._forget()
        demands = {name: level.asked() for name, level in self.levels.items()}
        self._likely = {
            name: shares.smoothed(self._likely.get(name, 0.0), demand) for name, demand in demands.items()
        }
        bounds = {name: shares.Bounds(one.nominal, one.least, one.most) for name, one in self.levels.items()}
        for name, seats in shares.lent(self.total, bounds, demands, self._likely).items():
            self.levels[name].limit = seats
            self.levels[name].admit()

    async def run(self) -> None:
        """For ever."""
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            self.lend()


_SCHEMA, _LEVEL = decoder(FlowSchema), decoder(PriorityLevelConfiguration)


def _put[T: Object](held: dict[str, T], read: Any, old: bytes | None, new: bytes | None) -> None:
    if new is not None:
        found = read.decode(new)
        held[found.metadata.name] = found
    elif old is not None:
        held.pop(read.decode(old).metadata.name, None)


def _catch_all() -> FlowSchema:
    found: FlowSchema = _usual(FlowSchema, "flowschemas")[CATCH_ALL]
    return found


def _queuing(spec: PriorityLevelConfigurationSpec) -> Queuing | None:
    """None where nobody waits."""
    response = spec.limited.limit_response if spec.limited else None
    found = response.queuing if response and response.type == "Queue" else None
    if found is None:
        return None
    return Queuing(found.queues or 64, found.hand_size or 8, found.queue_length_limit or 50)
