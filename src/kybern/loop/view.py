"""What one round of a controller sees: the caches, the time, and what the API server was asked for it.

``observe`` is a plain function, yet some decisions need an answer that no watch gives. Where it asks for one that is
not there yet, ``Wanted`` ends it; the loop asks the API server, keeps the answer for this round, and observes again.
"""

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any

import msgspec

from kybern.api.autoscaling_v1 import Scale
from kybern.client.cache import Cache
from kybern.client.scale import scale
from kybern.client.verbs import Verbs
from kybern.loop.controller import Errand, Failure, Key, View
from kybern.machinery.errors import ApiError, NotFound
from kybern.machinery.struct import Object, encode


class Wanted(Exception):
    """``observe`` needs an answer that is not there yet."""

    def __init__(self, asked: tuple[Any, ...], question: tuple[Any, ...]) -> None:
        super().__init__(asked)
        self.asked = asked
        self.question = question


class Glance:
    """A View for one key at one moment."""

    def __init__(
        self,
        cache: Cache,
        failure: Failure | None,
        answers: dict[tuple[Any, ...], Any],
        kinds: Callable[[], Iterable[type[Object]]],
    ) -> None:
        self._cache = cache
        self._answers = answers
        self._kinds = kinds
        self.now: datetime = cache.now
        self.failure = failure
        self.get = cache.get
        self.list = cache.list
        self.owned = cache.owned
        self.index = cache.index
        self.arrived = cache.arrived

    def kinds(self) -> Iterable[type[Object]]:
        return self._kinds()

    def live[T: Object](self, kind: type[T], namespace: str, name: str) -> T | None:
        found: T | None = self._answer((kind, namespace, name))
        return found

    def scale(self, api_version: str, kind: str, namespace: str, name: str) -> Scale | str | None:
        found: Scale | str | None = self._answer((api_version, kind, namespace, name))
        return found

    def answer(self, path: str) -> Any:
        return self._answer((path,))

    def live_list[T: Object](self, kind: type[T], namespace: str) -> tuple[T, ...]:
        found: tuple[T, ...] = self._answer((kind, namespace))
        return found

    def told[T](self, errand: Errand[T]) -> T:
        found: T = self._answer((errand,))
        return found

    def review[T: Object](self, question: T) -> T:
        found: T = self._answer((encode(question), question))
        return found

    def _answer(self, question: tuple[Any, ...]) -> Any:
        # A review is told apart by its bytes: what it holds need not be hashable.
        asked = question[:1] if isinstance(question[0], bytes) else question
        if asked not in self._answers:
            raise Wanted(asked, question)
        return self._answers[asked]


async def ask(client: Verbs, question: tuple[Any, ...]) -> Any:
    """Put a question of the view to the API server, or to whomever an errand goes."""
    match question:
        case (api_version, kind, namespace, name):
            return await scale(client, api_version, kind, namespace, name)
        case (str() as path,):
            return await _get(client, path)
        case (Errand() as errand,):
            return await errand.run()
        case (kind, namespace, name):
            return await _live(client, kind, namespace, name)
        case (kind, namespace):
            if isinstance(namespace, Object):
                return await client.create(namespace)
            items, _ = await client.list(kind, namespace)
            return items
    raise AssertionError(question)


async def _get(client: Verbs, path: str) -> Any:
    try:
        return msgspec.json.decode(await client.request("GET", path))
    except ApiError as problem:
        return problem


async def _live(client: Verbs, kind: type[Object], namespace: str, name: str) -> Object | None:
    try:
        return await client.get(kind, name, namespace)
    except NotFound:
        return None


async def observed[S](
    client: Verbs,
    observe: Callable[[View, Key], S | None],
    key: Key,
    glance: Callable[[dict[Any, Any]], Glance],
) -> S | None:
    """Observe until nothing more is wanted."""
    answers: dict[Any, Any] = {}
    while True:
        try:
            return observe(glance(answers), key)
        except Wanted as wanted:
            answers[wanted.asked] = await ask(client, wanted.question)
