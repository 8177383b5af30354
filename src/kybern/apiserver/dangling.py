"""Says of every flow schema whether the priority level that it names is there: its condition ``Dangling``.

Upstream's controller of priority and fairness does this in every API server; the words, the reasons and the name of the
manager are its. Only the condition is applied, so that nobody else's part of the status is touched.
"""

import asyncio
import logging
from collections.abc import Iterable, Iterator

from kybern.api.rules.tables import condition, dig
from kybern.apiserver.bootstrap import FLOW_CONTROL
from kybern.apiserver.local import Local
from kybern.apiserver.lookup import Informers
from kybern.machinery import times
from kybern.machinery.causes import quoted
from kybern.machinery.errors import ApiError, NotFound
from kybern.machinery.kind import Raw
from kybern.storage.cache import Stale
from kybern.storage.store import Unavailable

log = logging.getLogger(__name__)

MANAGER = "api-priority-and-fairness-config-consumer-v1"
_SCHEMAS, _LEVELS = "flowschemas", "prioritylevelconfigurations"
_RETRY_SECONDS = 1.0
_SAID = ("status", "reason", "message")


def judged(level: str, *, there: bool) -> Raw:
    """The condition of a schema that names this level, without the time of its last transition. Pure."""
    names = f"This FlowSchema references the PriorityLevelConfiguration object named {quoted(level)}"
    if there:
        return {"type": "Dangling", "status": "False", "reason": "Found", "message": f"{names} and it exists"}
    message = f"{names} but there is no such object"
    return {"type": "Dangling", "status": "True", "reason": "NotFound", "message": message}


def wrong(schemas: Iterable[Raw], levels: Iterable[Raw]) -> Iterator[tuple[str, Raw]]:
    """The names of the schemas whose condition is not what it should be, and what it should be. Pure."""
    names = {raw["metadata"]["name"] for raw in levels}
    for raw in schemas:
        level = dig(raw, "spec", "priorityLevelConfiguration", "name") or ""
        want, found = judged(level, there=level in names), condition(raw, "Dangling") or {}
        if any(want[key] != found.get(key) for key in _SAID):
            yield raw["metadata"]["name"], want


class Dangling:
    def __init__(self, local: Local, informers: Informers) -> None:
        self._local = local
        self._wake = asyncio.Event()
        for plural in (_SCHEMAS, _LEVELS):
            informers.subscribe(FLOW_CONTROL, plural, self._changed)

    def _changed(self, _old: bytes | None, _new: bytes | None) -> None:
        self._wake.set()

    async def run(self) -> None:
        """For ever."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            try:
                await self.look()
            except (ApiError, Unavailable, Stale) as problem:
                log.warning("Cannot say which flow schemas dangle: %s", problem)
                asyncio.get_running_loop().call_later(_RETRY_SECONDS, self._wake.set)

    async def look(self) -> None:
        lookup, engine = self._local.engine.lookup, self._local.engine
        schemas, levels = await lookup.list(FLOW_CONTROL, _SCHEMAS), await lookup.list(FLOW_CONTROL, _LEVELS)
        now = times.of_unix(engine.clock())
        for name, want in wrong(schemas, levels):
            said = {"status": {"conditions": [{**want, "lastTransitionTime": now}]}}
            head = {"apiVersion": f"{FLOW_CONTROL}/v1", "kind": "FlowSchema", "metadata": {"name": name}}
            try:
                await self._local.apply(FLOW_CONTROL, _SCHEMAS, head | said, MANAGER, "status")
            except NotFound:
                log.debug("Flow schema %s is gone", name)
