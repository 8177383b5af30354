"""An engine over a store in memory, with every kind of the API and no admission."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from kybern.api.kinds import KINDS
from kybern.apiserver import body
from kybern.apiserver.engine import Call, Engine
from kybern.apiserver.generic import create
from kybern.apiserver.lookup import CacheLookup
from kybern.apiserver.route import Table
from kybern.auth.user import User
from kybern.storage.caches import Caches
from kybern.storage.memory import MemoryStore
from kybern.storage.value import decoded, encoded

ADMIN = User("admin", ("system:masters",))
NOW = 1_700_000_000.0


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
async def engine(store: MemoryStore) -> AsyncIterator[Engine]:
    tasks = asyncio.TaskGroup()
    table = Table.of(KINDS)
    async with tasks:
        caches = Caches(store, tasks)
        yield Engine(store, caches, table, CacheLookup(store, caches, table), clock=lambda: NOW)
        for task in tuple(tasks._tasks):
            task.cancel()


type Making = Callable[..., Call]


@pytest.fixture
def call(engine: Engine) -> Making:
    def made(plural: str, name: str = "", group: str = "", namespace: str = "default", **query: str) -> Call:
        kind = engine.table.kind(group, plural)
        assert kind is not None
        return Call(engine, kind, ADMIN, namespace if kind.namespaced else "", name, query=query)

    return made


@pytest.fixture
def make(call: Making) -> Callable[..., Any]:
    """Create an object from what a client would send; gives what it would read."""

    async def made(plural: str, raw: dict[str, Any], group: str = "", namespace: str = "default") -> Any:
        asked = call(plural, group=group, namespace=namespace)
        one = await create.create(asked, body.decode(asked, encoded(raw), "application/json"))
        return decoded(one.body)

    return made
