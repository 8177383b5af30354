"""Keeps an APIService for every group and version that this server answers itself.

Built-in ones are made when a server starts, those of custom kinds are kept as long as these are served. Who wants to answer
for one of them instead takes the label off: such an object is left alone.
"""

import asyncio
import contextlib
import logging
from collections.abc import Iterable, Mapping

from kybern.apiserver.aggregation import priorities
from kybern.apiserver.aggregation.priorities import GROUP, PLURAL
from kybern.apiserver.aggregation.registered import Registered
from kybern.apiserver.local import Local
from kybern.apiserver.route import Table
from kybern.machinery.errors import AlreadyExists, ApiError, NotFound
from kybern.machinery.kind import Raw
from kybern.storage.cache import Stale
from kybern.storage.store import Unavailable

log = logging.getLogger(__name__)

LABEL = "kube-aggregator.kubernetes.io/automanaged"
ONSTART, ALWAYS = "onstart", "true"
_RETRY_SECONDS = 1.0


def wanted(table: Table) -> Mapping[str, Raw]:
    """The objects to have, by name. Pure."""
    found = {}
    for version in table.versions.values():
        if version.group == GROUP:
            continue  # this one is what answers here
        priority = priorities.of(version.group, version.version)
        name = f"{version.version}.{version.group}"
        found[name] = {
            "apiVersion": f"{GROUP}/v1",
            "kind": "APIService",
            "metadata": {
                "name": name,
                "labels": {LABEL: ONSTART if priorities.built_in(version.group) else ALWAYS},
            },
            "spec": {
                **({"group": version.group} if version.group else {}),
                "version": version.version,
                "groupPriorityMinimum": priority.group,
                "versionPriority": priority.version,
            },
        }
    return found


def managed(raw: Raw) -> str:
    return str((raw["metadata"].get("labels") or {}).get(LABEL) or "")


def steps(want: Mapping[str, Raw], there: Mapping[str, Raw], *, starting: bool) -> Iterable[tuple[str, Raw]]:
    """What to create, update and delete. Pure."""
    for name, raw in want.items():
        found, always = there.get(name), managed(raw) == ALWAYS
        if found is None and (starting or always):
            yield "create", raw
        elif found is not None and managed(found) and (starting or always) and found["spec"] != raw["spec"]:
            yield "update", {**found, "spec": raw["spec"]}
    for name, raw in there.items():
        if name not in want and (managed(raw) == ALWAYS or (starting and managed(raw) == ONSTART)):
            yield "delete", raw


class Announce:
    def __init__(self, table: Table, registered: Registered, local: Local) -> None:
        self._table = table
        self._registered = registered
        self._local = local
        self._wake = asyncio.Event()
        self._complete = False
        registered.changed.append(self._wake.set)

    def wake(self) -> None:
        """What is served has changed."""
        self._wake.set()

    def missing(self) -> list[str]:
        """The objects for what is built in that were never there since the start; none once all were."""
        if not self._complete:
            built_in = (name for name, raw in wanted(self._table).items() if managed(raw) == ONSTART)
            names = sorted(name for name in built_in if name not in self._registered.services)
            self._complete = not names
            return names
        return []

    async def run(self) -> None:
        starting = True
        while True:
            self._wake.clear()
            if await self._step(starting=starting):
                starting = False
                await self._wake.wait()
            else:
                await asyncio.sleep(_RETRY_SECONDS)

    async def _step(self, *, starting: bool) -> bool:
        """Whether all was done."""
        done = True
        for verb, raw in tuple(steps(wanted(self._table), self._registered.services, starting=starting)):
            name = raw["metadata"]["name"]
            try:
                await self._do(verb, raw)
            except ApiError as problem:
                log.warning("Cannot %s APIService %s: %s", verb, name, problem)
                done = False
            except (Unavailable, Stale) as problem:
                log.warning("Cannot %s APIService %s yet: %s", verb, name, problem)
                return False
        return done

    async def _do(self, verb: str, raw: Raw) -> None:
        if verb == "create":
            with contextlib.suppress(AlreadyExists):
                await self._local.create(GROUP, PLURAL, raw)
        elif verb == "update":
            await self._local.update(GROUP, PLURAL, raw)
        else:
            with contextlib.suppress(NotFound):
                await self._local.delete(GROUP, PLURAL, "", raw["metadata"]["name"])
