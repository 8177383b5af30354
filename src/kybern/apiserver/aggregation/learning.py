"""Asks aggregated servers what they serve, and keeps the answers for discovery and OpenAPI.

What is known stays known while a server cannot be asked, and is marked as not fresh; it goes when its APIService does. A
server is asked once a minute, and at once when its group version becomes available.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import replace

from kybern.apiserver import openapi_gnostic
from kybern.apiserver.aggregation import lessons
from kybern.apiserver.aggregation.lessons import Foreign, Lesson
from kybern.apiserver.aggregation.questions import NoAnswer, Questions
from kybern.apiserver.aggregation.registered import Registered
from kybern.apiserver.aggregation.remote import Remote
from kybern.machinery.kind import Raw

log = logging.getLogger(__name__)

_EVERY_SECONDS = 60.0
_AGAIN_SECONDS = 5.0
_JSON = "application/json"
_AGGREGATED = f"{_JSON};g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,{_JSON}"


class Learning:
    """``changed`` is told when something else is known than before."""

    def __init__(self, registered: Registered, questions: Questions) -> None:
        self._registered = registered
        self._questions = questions
        self.changed: Callable[[], None] = lambda: None
        self._known: dict[str, Lesson] = {}
        self._due: dict[str, tuple[Remote, float]] = {}
        self._wake = asyncio.Event()
        registered.changed.append(self._wake.set)

    def foreign(self) -> list[Foreign]:
        """For discovery."""
        return [lessons.foreign(one, self._known.get(path)) for path, one in self._registered.remotes.items()]

    @property
    def lessons(self) -> dict[str, Lesson]:
        """For OpenAPI: by path, without its first slash."""
        return {path[1:]: lesson for path, lesson in self._known.items()}

    async def run(self) -> None:
        while True:
            self._wake.clear()
            await self._round()
            try:
                async with asyncio.timeout(_AGAIN_SECONDS if self._registered.remotes else None):
                    await self._wake.wait()
            except TimeoutError:
                continue

    async def _round(self) -> None:
        remotes = dict(self._registered.remotes)
        before = dict(self._known)
        self._known = {path: lesson for path, lesson in before.items() if path in remotes}
        self._due = {path: due for path, due in self._due.items() if path in remotes}
        async with asyncio.TaskGroup() as tasks:
            for path, remote in remotes.items():
                known, at = self._due.get(path, (None, 0.0))
                if known != remote or time.monotonic() >= at:
                    tasks.create_task(self._learn(path, remote))
        if self._known != before:
            self.changed()

    async def _learn(self, path: str, remote: Remote) -> None:
        known = self._known.get(path, Lesson())
        wait = _EVERY_SECONDS
        if not remote.available:
            found = replace(known, fresh=False)
        else:
            try:
                found = await self._lesson(remote, known)
            except (
                Exception
            ) as problem:  # what another server says may have any shape, and must not stop this one
                log.info("Cannot learn what %s serves: %s: %s", remote.name, type(problem).__name__, problem)
                found, wait = replace(known, fresh=False), _AGAIN_SECONDS
        self._known[path] = found
        self._due[path] = remote, time.monotonic() + wait

    async def _lesson(self, remote: Remote, known: Lesson) -> Lesson:
        resources = lessons.told(await self._resources(remote))
        paths, definitions, tag = await self._v2(remote, known)
        document = await self._questions.ask(remote, f"/openapi/v3{remote.path}", _JSON)
        v3 = document.body if document.code == 200 else b""
        return Lesson(resources, True, paths, definitions, tag, v3)

    async def _resources(self, remote: Remote) -> tuple[Raw, ...]:
        reply = await self._questions.ask(remote, "/apis", _AGGREGATED)
        if reply.code == 200 and "as=APIGroupDiscoveryList" in reply.media:
            found = lessons.of_aggregated(reply.body, remote)
            if found is not None:
                return found
        reply = await self._questions.ask(remote, remote.path, _JSON)
        if reply.code != 200:
            raise NoAnswer(f"{remote.path}: {reply.code}")
        return lessons.of_legacy(reply.body, remote)

    async def _v2(self, remote: Remote, known: Lesson) -> tuple[dict[str, object], dict[str, object], str]:
        reply = await self._questions.ask(remote, "/openapi/v2", _JSON, known.v2_tag)
        if reply.code == 304:
            return dict(known.paths), dict(known.definitions), known.v2_tag
        if reply.code != 200:
            return {}, {}, ""
        try:
            return *await asyncio.to_thread(_v2, reply.body, remote), reply.tag
        except Exception as problem:  # as above; what it serves is known all the same
            log.info("Cannot tell of the OpenAPI of %s: %s: %s", remote.name, type(problem).__name__, problem)
            return {}, {}, reply.tag


def _v2(body: bytes, remote: Remote) -> tuple[dict[str, object], dict[str, object]]:
    paths, definitions = lessons.of_v2(body, remote)
    info = {"title": "", "version": ""}
    # What cannot be told in one of the forms would spoil the whole document: better it fails here.
    openapi_gnostic.encode({"swagger": "2.0", "info": info, "paths": paths, "definitions": definitions})
    return paths, definitions
