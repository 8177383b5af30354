"""Serves what the definitions say, on this server, at every change of one; and does what the server owes a definition.

Each server serves by what it sees. Conditions are written, and objects of a definition that goes are removed, by whoever
comes first: every such write is conditional, and who comes late sees the change and has nothing left to do.
"""

import asyncio
import logging
from collections.abc import Callable

from kybern.admission.webhooks.target import Caller
from kybern.apiserver.crd import conditions, documents, ending
from kybern.apiserver.crd.kinds import Made, make
from kybern.apiserver.crd.node import CustomNode
from kybern.apiserver.engine import Engine
from kybern.apiserver.generic import delete
from kybern.apiserver.local import Local
from kybern.apiserver.lookup import Informers
from kybern.apiserver.options import DeleteOptions
from kybern.machinery import times
from kybern.machinery.errors import ApiError, NotFound
from kybern.machinery.kind import Kind, Raw
from kybern.machinery.schema import Schema
from kybern.storage.cache import Stale
from kybern.storage.store import Unavailable
from kybern.storage.value import decoded

log = logging.getLogger(__name__)

GROUP, PLURAL = "apiextensions.k8s.io", "customresourcedefinitions"
_RETRY_SECONDS = 1.0


class Definitions:
    """``run`` must be running for definitions to be established; ``changed`` is told after each change of what is served."""

    def __init__(
        self,
        engine: Engine,
        local: Local,
        changed: Callable[[tuple[Kind, ...]], None],
        caller: Caller | None = None,
    ) -> None:
        self._caller = caller
        self._engine = engine
        self._local = local
        self._changed = changed
        self._known: dict[str, Raw] = {}
        self._served: dict[str, Made] = {}
        self._seen: dict[str, tuple[object, ...]] = {}
        self._pending: set[str] = set()
        self._wake = asyncio.Event()

    def follow(self, informers: Informers) -> None:
        informers.subscribe(GROUP, PLURAL, self.take)

    def take(self, old: bytes | None, new: bytes | None) -> None:
        """A definition has changed."""
        body = new or old
        assert body is not None
        definition = decoded(body)
        name = definition["metadata"]["name"]
        if new is None:
            self._known.pop(name, None)
        else:
            self._known[name] = definition
        self._serve(name, definition if new is not None else None)
        group = definition["spec"]["group"]
        for other, each in self._known.items():
            if each["spec"]["group"] == group and (
                other == name or not conditions.holds(each, "NamesAccepted")
            ):
                self._ask(other)

    def _ask(self, name: str) -> None:
        self._pending.add(name)
        self._wake.set()

    def _serve(self, name: str, definition: Raw | None) -> None:
        before = self._served.get(name)
        seen = _serves(definition)
        if before is not None and seen == self._seen.get(name):
            return  # those who watch are not to be disturbed by what changes nothing for them
        self._seen[name] = seen
        wanted = definition is not None and conditions.holds(definition, "Established")
        if before is None and not wanted:
            return
        made = make(definition, self._caller) if wanted and definition is not None else None
        if made is not None and self._foreign(made):
            log.warning("Not serving %s: there is a kind of this name already", name)
            return
        if before is not None:
            self._drop(before)
        if made is not None:
            self._put(name, made)
        else:
            self._served.pop(name, None)
            self._seen.pop(name, None)
        self._changed(self.kinds())

    def kinds(self) -> tuple[Kind, ...]:
        return tuple(kind for made in self._served.values() for kind in made.served)

    def _foreign(self, made: Made) -> bool:
        versions = self._engine.table.versions.values()
        return any(
            not kind.custom and (kind.group, kind.plural) == (made.stored.group, made.stored.plural)
            for version in versions
            for kind in version.kinds.values()
        )

    def _drop(self, made: Made) -> None:
        table, schemas = self._engine.table, Schema.load()
        table.drop(made.served)
        table.unserved.pop((made.stored.group, made.stored.version, made.stored.plural), None)
        for kind in (*made.served, made.stored):
            self._engine.forget(kind)
            schemas.drop(kind.schema)

    def _put(self, name: str, made: Made) -> None:
        table, schemas = self._engine.table, Schema.load()
        self._served[name] = made
        for kind in {kind.schema: kind for kind in (*made.served, made.stored)}.values():
            structural = made.schemas[kind.schema]
            schemas.put(CustomNode(kind.schema, kind.kind, documents.schema(kind, structural), structural))
        table.put(made.served)
        if made.stored not in made.served:
            table.unserved[made.stored.group, made.stored.version, made.stored.plural] = made.stored

    async def run(self) -> None:
        """For ever: bring conditions up to date, and remove what must go."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            pending, self._pending = self._pending, set()
            for name in sorted(pending):
                try:
                    done = await self._step(name)
                except (ApiError, Unavailable, Stale) as problem:
                    log.info("Definition %s: %s", name, problem)
                    done = False
                if not done:
                    asyncio.get_running_loop().call_later(_RETRY_SECONDS, self._ask, name)

    async def _step(self, name: str) -> bool:
        """Whether nothing is left to do for now."""
        definition = self._known.get(name)
        if definition is None:
            return True
        if definition["metadata"].get("deletionTimestamp"):
            return await self._finish(definition)
        status = conditions.judged(definition, self._known.values(), times.of_unix(self._engine.clock()))
        if status != definition.get("status"):
            await self._local.update(GROUP, PLURAL, {**definition, "status": status}, "status")
        return True

    async def _finish(self, definition: Raw) -> bool:
        """Take all objects of a definition away before it goes itself; whether nothing is left to do for now."""
        finalizers = definition["metadata"].get("finalizers") or []
        if conditions.CLEANUP not in finalizers:
            return True
        made, says = self._served.get(definition["metadata"]["name"]), ending.NEVER
        if conditions.holds(definition, "Established"):
            says = ending.FOREIGN
        if made is not None:
            if ending.is_fresh(definition):
                definition = await self._tell(definition, ending.UNDER_WAY)
            errors, left = await self._emptied(made.stored)
            if errors or left:
                await self._tell(definition, ending.stuck(definition, errors, self._engine.clock()))
                return False
            says = ending.DONE
        definition = await self._tell(definition, says)
        others = [each for each in finalizers if each != conditions.CLEANUP]
        metadata = {**definition["metadata"], "finalizers": others}
        await self._local.update(GROUP, PLURAL, {**definition, "metadata": metadata})
        return True

    async def _tell(self, definition: Raw, says: ending.Says) -> Raw:
        """The definition, with its condition Terminating."""
        status = ending.told(definition, says, times.of_unix(self._engine.clock()))
        if status == definition.get("status"):
            return definition
        return await self._local.update(GROUP, PLURAL, {**definition, "status": status}, "status")

    async def _emptied(self, kind: Kind) -> tuple[list[str], bool]:
        """Delete all objects of a kind: what went wrong, and whether some are left."""
        prefix = kind.prefix()
        errors: list[str] = []
        page = await self._engine.store.range(prefix, limit=500)
        for stored in page.items:
            namespace, _, name = stored.key.removeprefix(prefix).rpartition("/")
            try:
                await delete.delete(self._local.call(kind, namespace, name), DeleteOptions())
            except NotFound:
                continue
            except ApiError as problem:
                errors.append(problem.message)
        return errors, bool((await self._engine.store.range(prefix, limit=1)).items)


def _serves(definition: Raw | None) -> tuple[object, ...]:
    """All of a definition that its kinds are made of."""
    if definition is None:
        return ()
    status = definition.get("status") or {}
    ends = bool(definition["metadata"].get("deletionTimestamp"))
    return definition["spec"], status.get("acceptedNames"), conditions.holds(definition, "Established"), ends
