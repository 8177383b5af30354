"""Reviews that are posted to servers of others: where, how often, and what counts as an answer.

The server is that of a kubeconfig, and the path is the one its URL names. A review that failed for a reason that passes
(a reset connection, 429, 500, 504, or an answer that says when to ask again) is posted again, five times in all, after
half a second and then half as long again each time, give or take a fifth (upstream: ``apiserver/pkg/util/webhook``).
"""

import asyncio
import random
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

import aiohttp
import msgspec

from kybern.client.kubeconfig import Config
from kybern.client.rest import Client
from kybern.machinery.errors import ApiError
from kybern.machinery.kind import Raw

SECONDS = 30.0
TRIES, FIRST, FACTOR, JITTER = 5, 0.5, 1.5, 0.2
_TRANSIENT = (429, 500, 504)

type Tried = Callable[[str, float], None]
"""Told of each try: "success", "timeout" or "error", and the seconds that it took."""


class Unanswered(Exception):
    """Nobody answered, or not with a review. ``result`` is "timeout" or "error"."""

    def __init__(self, text: str, result: str = "error") -> None:
        super().__init__(text)
        self.result = result


def delays(chance: Callable[[], float] = random.random, first: float = FIRST) -> Iterator[float]:
    """Seconds before each try but the first; ``chance`` gives numbers from 0 to 1."""
    wait = first
    for _ in range(TRIES - 1):
        yield wait * (1 + JITTER * chance())
        wait *= FACTOR


def passes(problem: ApiError) -> bool:
    """Whether a failure is one that may be gone a moment later."""
    cause = problem.__cause__
    if cause is not None:
        return isinstance(cause, ConnectionResetError | aiohttp.ServerDisconnectedError)
    return problem.code in _TRANSIENT or bool(problem.details and problem.details.retry_after_seconds)


def result_of(problem: ApiError) -> str:
    """How metrics call a failure."""
    if isinstance(problem.__cause__, TimeoutError) or problem.code == 504:
        return "timeout"
    return "error"


def _untold(_result: str, _seconds: float) -> None:
    return


@dataclass(slots=True)
class Posting:
    """One server. Opened by ``start``, on the loop that uses it.

    ``seconds``: how long one try may take; ``first``: the wait before the second one.
    """

    config: Config
    seconds: float = SECONDS
    first: float = FIRST
    _client: Client = field(init=False)
    _open: bool = field(default=False, init=False)

    def __post_init__(self) -> None:
        self._client = Client(self.config)

    async def start(self) -> None:
        """Once; nothing when it is open already."""
        if not self._open:
            self._open = True
            await self._client.__aenter__()

    async def close(self) -> None:
        if self._open:
            self._open = False
            await self._client.__aexit__()

    async def post(self, review: Raw, tried: Tried = _untold) -> Raw:
        """The review as it came back. Raises Unanswered."""
        body = msgspec.json.encode(review)
        waits = delays(first=self.first)
        while True:
            began = time.monotonic()
            try:
                found = _review(await self._client.request("POST", "", body, self.seconds), review)
            except ApiError as problem:
                result = result_of(problem)
                tried(result, time.monotonic() - began)
                wait = next(waits, None) if passes(problem) else None
                if wait is None:
                    raise Unanswered(problem.message, result) from problem
                await asyncio.sleep(wait)
                continue
            except Unanswered:
                tried("error", time.monotonic() - began)
                raise
            tried("success", time.monotonic() - began)
            return found


def _review(body: bytes, asked: Raw) -> Raw:
    """What came back, if it is a review of the version and kind that was asked, or says neither. Raises Unanswered."""
    try:
        found = msgspec.json.decode(body)
    except msgspec.DecodeError as problem:
        raise Unanswered(f"the answer is not JSON: {problem}") from problem
    wanted = (asked["apiVersion"], asked["kind"])
    # Upstream's decoder fills in what is empty.
    if (
        not isinstance(found, Mapping)
        or (found.get("apiVersion") or wanted[0], found.get("kind") or wanted[1]) != wanted
    ):
        raise Unanswered(f"the answer is not a {asked['kind']} of {asked['apiVersion']}")
    if not isinstance(found.get("status") or {}, Mapping):
        raise Unanswered("the answer's status is no object")
    return dict(found)
