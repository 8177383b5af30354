"""Keeps the condition Available of every APIService.

Each server looks by itself: at what Service and endpoints say, once a second as long as anybody else answers for anything,
and at the other server itself when that changed, when the last time went wrong, and every half minute. Nothing is written
that is there already, and every write is conditional, so several servers do no harm.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

from kybern.apiserver import metrics
from kybern.apiserver.aggregation.priorities import GROUP, PLURAL
from kybern.apiserver.aggregation.questions import NoAnswer, Questions
from kybern.apiserver.aggregation.registered import Registered
from kybern.apiserver.aggregation.remote import LOCAL, PASSED, Remote, Verdict, endpoints, judged, remote
from kybern.apiserver.local import Local
from kybern.apiserver.services.reach import SERVICE_NAME, Objects
from kybern.machinery import times
from kybern.machinery.errors import ApiError
from kybern.machinery.kind import Raw
from kybern.storage.cache import Stale
from kybern.storage.store import Unavailable

log = logging.getLogger(__name__)

_LOOK_SECONDS = 1.0
_AGAIN_SECONDS = 30.0
_FAILED_SECONDS = 2.0
_ATTEMPTS = 5


@dataclass(slots=True)
class Seen:
    """The last time that a remote was asked: what was known of it then, and when to ask again."""

    facts: tuple[object, ...]
    until: float


class Availability:
    def __init__(
        self,
        registered: Registered,
        questions: Questions,
        local: Local,
        objects: Objects,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._registered = registered
        self._questions = questions
        self._local = local
        self._objects = objects
        self._clock = clock
        self._seen: dict[str, Seen] = {}
        self._wake = asyncio.Event()
        registered.changed.append(self._wake.set)

    async def run(self) -> None:
        while True:
            self._wake.clear()
            services = dict(self._registered.services)
            for name in self._seen.keys() - services.keys():
                del self._seen[name]
                metrics.forget(name)
            async with asyncio.TaskGroup() as tasks:
                for name, raw in services.items():
                    tasks.create_task(self._look(name, raw))
            try:
                async with asyncio.timeout(_LOOK_SECONDS if self._registered.remotes else None):
                    await self._wake.wait()
            except TimeoutError:
                continue

    async def _look(self, name: str, raw: Raw) -> None:
        found = remote(raw)
        try:
            if found is None:
                await self._write(raw, LOCAL)
            else:
                await self._check(name, raw, found)
        except (ApiError, Unavailable, Stale) as problem:
            log.info("Cannot tell whether %s is available: %s", name, problem)

    async def _check(self, name: str, raw: Raw, found: Remote) -> None:
        service = await self._objects.get("", "services", found.namespace, found.service)
        label = SERVICE_NAME, found.service
        slices = await self._objects.labelled("discovery.k8s.io", "endpointslices", found.namespace, label)
        facts = raw["spec"], _version(service), *map(_version, slices)
        seen = self._seen.get(name)
        if seen is not None and seen.facts == facts and self._clock() < seen.until:
            return
        verdict = await self._judge(found, service, slices)
        again = _AGAIN_SECONDS if verdict.available else _FAILED_SECONDS
        metrics.judged(name, available=verdict.available)
        await self._write(raw, verdict)
        self._seen[name] = Seen(facts, self._clock() + again)

    async def _judge(self, found: Remote, service: Raw | None, slices: list[Raw]) -> Verdict:
        if service is None:
            text = f'service/{found.service} in "{found.namespace}" is not present'
            return Verdict("ServiceNotFound", text)
        missing = endpoints(service, found, slices)
        if missing is not None:
            return missing
        problem = ""
        # Some endpoints may fail: one that answers is enough.
        for asked in asyncio.as_completed([self._asked(found) for _ in range(_ATTEMPTS)]):
            problem = await asked or problem
            if not problem:
                break
        return Verdict("FailedDiscoveryCheck", problem) if problem else PASSED

    async def _asked(self, found: Remote) -> str:
        try:
            await self._questions.check(found)
        except NoAnswer as problem:
            return str(problem)
        return ""

    async def _write(self, raw: Raw, verdict: Verdict) -> None:
        new = judged(raw, verdict, times.of_unix(self._local.engine.clock()))
        if new is not None:
            log.info("APIService %s: %s: %s", raw["metadata"]["name"], verdict.reason, verdict.message)
            await self._local.update(GROUP, PLURAL, new, "status")


def _version(raw: Raw | None) -> str:
    return f"{raw['metadata']['uid']}/{raw['metadata']['resourceVersion']}" if raw else ""
