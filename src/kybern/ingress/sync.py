"""Keep haproxy at what the API says.

What holds: the first configuration waits until all kinds are known, so that a restart serves what it served before;
changes that come together are one; what haproxy refuses is logged, leaves the old in force and is tried again; where it is a
certificate that it refuses, all else is done without it. There is at most one reload in half a second, however busy the
cluster is.
"""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, field

from kybern.api.core_v1 import Secret, Service
from kybern.api.discovery_v1 import EndpointSlice
from kybern.api.networking_v1 import Ingress, IngressClass
from kybern.client.cache import Cache
from kybern.ingress import metrics
from kybern.ingress.haproxy import CannotApply, Haproxy, Refused
from kybern.ingress.model import Certificate, Model, Problem, model
from kybern.ingress.objects import World
from kybern.ingress.render import Place, files

log = logging.getLogger(__name__)

KINDS = (IngressClass, Ingress, Service, EndpointSlice, Secret)
_SETTLE = 0.1  # seconds in which changes that belong together come
_PAUSE = 0.5
_LOOK = 5.0  # seconds after which it is looked whether haproxy runs with what it should


@dataclass(slots=True)
class Syncer:
    """``told`` hears the problems of Ingresses, each when it is new; ``ready`` when the first configuration is there.

    ``problem`` is why haproxy does not have what it should now, "" for none.
    """

    cache: Cache
    haproxy: Haproxy
    place: Place
    told: Callable[[Problem], None]
    ready: Callable[[], None]
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    problem: str = ""
    _problems: frozenset[Problem] = frozenset()
    _refused: tuple[Certificate, ...] = ()

    def tell_again(self) -> None:
        """Tell all problems, also those that were told before."""
        self._problems = frozenset()
        self.changed.set()

    async def run(self) -> None:
        await self.cache.synced(*KINDS)
        first = True
        while True:
            self.changed.clear()
            try:
                with metrics.SYNC.time():
                    await self.once()
            except CannotApply as problem:
                metrics.FAILURES.inc()
                self.problem = str(problem)
                log.error("%s", problem)  # noqa: TRY400  # it is haproxy's text that says what is wrong
            else:
                metrics.LAST.set_to_current_time()
                self.problem = ""
                if first:
                    self.ready()
                    first = False
            await asyncio.sleep(_PAUSE)
            try:
                async with asyncio.timeout(_LOOK):
                    await self.changed.wait()
                    await asyncio.sleep(_SETTLE)
            except TimeoutError:
                continue

    async def once(self) -> None:
        """One round. Raises CannotApply."""
        listed = self.cache.list
        world = World.of(
            listed(IngressClass), listed(Ingress), listed(Service), listed(EndpointSlice), listed(Secret)
        )
        made = model(world)
        self._refused = made.leave_out(self._refused)
        try:
            digest = await self._used(made)
        except Refused:
            refused = await self.haproxy.refused(tuple(made.certificates.values()))
            if not refused:
                raise
            # Remembered while they are what secrets hold: to try them again would be to be refused again.
            self._refused += made.leave_out(refused)
            digest = await self._used(made)
        await self.haproxy.load(digest)
        self.haproxy.prune(digest)
        problems = frozenset(made.problems)
        metrics.INGRESSES.set(sum(1 for _ in listed(Ingress)))
        metrics.PROBLEMS.set(len(problems))
        for problem in sorted(problems - self._problems, key=str):
            self.told(problem)
        self._problems = problems

    async def _used(self, made: Model) -> str:
        """Written, found good, and what haproxy starts with from now on; gives its name."""
        digest, written = files(made, self.place, str(self.haproxy.folder))
        try:
            if not self.haproxy.has(digest):
                configuration = self.haproxy.write(digest, written)
                await self.haproxy.check(configuration)
                self.haproxy.use(configuration)
                metrics.WRITTEN.inc()
        except OSError as problem:  # a full disk: what haproxy has stays in force, and it is tried again
            raise CannotApply(f"cannot keep {digest} below {self.haproxy.folder}: {problem}") from problem
        return digest
