"""The real API server without its network: every verb, rule and admission plugin, over the store in memory.

A client of it gives its requests to the same functions as the HTTP server does, and takes the frames of watches from the
same streams. Rights are not asked: every client is an administrator. The clock is the simulation's.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from ipaddress import ip_network
from typing import override
from urllib.parse import parse_qsl, urlsplit
from zlib import crc32

import msgspec

from kybern.admission.chain import chain
from kybern.api.kinds import KINDS
from kybern.apiserver import negotiate, options, paths, problems, verbs
from kybern.apiserver.engine import Call, Engine
from kybern.apiserver.generic import watch
from kybern.apiserver.local import Local
from kybern.apiserver.lookup import CacheLookup
from kybern.apiserver.negotiate import Form
from kybern.apiserver.paths import Health, Paths
from kybern.apiserver.render import Renderer, plain
from kybern.apiserver.route import Table
from kybern.apiserver.services.addresses import Addresses
from kybern.apiserver.services.guard import ServiceGuard
from kybern.apiserver.services.ports import Ports
from kybern.auth.user import MASTERS, User
from kybern.client.verbs import JSON
from kybern.machinery.kind import Raw
from kybern.storage.caches import Caches
from kybern.storage.memory import MemoryStore
from kybern.storage.store import Stored
from tests.simulation.fights import WRITER, Fights, changes
from tests.simulation.plane.virtual import seconds
from tests.simulation.through import Answering, Asked

ADMIN = User("admin", (MASTERS,))
SERVICES = "10.96.0.0/14"
_METRICS = "/apis/metrics.k8s.io/v1beta1/namespaces/"
# Signs of life and words about things: nobody's wish, nobody's truth.
_CHATTER = ("/registry/leases/kube-node-lease/", "/registry/events/")


class Store(MemoryStore):
    """Tells every write to the detector of fights, and knows how often something was written that counts."""

    def __init__(self, fights: Fights) -> None:
        super().__init__()
        self.fights = fights
        self.counting = 0
        self.lately: deque[str] = deque(maxlen=20)
        self.writes = 0
        self.writers: set[str] = set()
        # A line for each write: when, by whom, of what, and a sum over what was written.
        self.trace: list[str] = []

    @override
    async def put(self, key: str, value: bytes, expected: int, ttl: int = 0) -> Stored:
        old = self._now.get(key)
        stored = await super().put(key, value, expected, ttl)
        self._saw(key, old, value)
        return stored

    @override
    async def delete(self, key: str, expected: int) -> int:
        old = self._now.get(key)
        revision = await super().delete(key, expected)
        self._saw(key, old, None)
        return revision

    def _saw(self, key: str, old: Stored | None, new: bytes | None) -> None:
        self.writes += 1
        self.writers.add(WRITER.get())
        when = asyncio.get_running_loop().time()
        self.trace.append(f"{when:.6f} {WRITER.get() or 'outside'} {key} {crc32(new or b''):08x}")
        if key.startswith(_CHATTER):
            return
        self.counting += 1
        before = msgspec.json.decode(old.value) if old is not None else None
        after = msgspec.json.decode(new) if new is not None else None
        what = (
            [(".".join(path), new) for path, _, new in changes(before or {}, after or {})]
            if before
            else "new"
        )
        self.lately.append(f"{WRITER.get() or 'outside'} {key}: {str(what)[:300]}")
        self.fights.saw(WRITER.get(), tuple(key.split("/")[2:]), before, after)


class _Sent:
    def __init__(self, body: bytes, content_type: str) -> None:
        self.content_type = content_type
        self._body = body

    async def read(self) -> bytes:
        return self._body


class Server:
    """One API server; see ``serving``."""

    def __init__(self, tasks: asyncio.TaskGroup, fights: Fights) -> None:
        self.store = Store(fights)
        table = Table.of(KINDS)
        caches = Caches(self.store, tasks)
        self.engine = Engine(self.store, caches, table, CacheLookup(self.store, caches, table), clock=seconds)
        self.engine.chain = chain()
        self.local = Local(self.engine)
        self.engine.charge = self._charge
        guard = ServiceGuard(Addresses(self.local, (ip_network(SERVICES),)), Ports(self.store, 30000, 32767))
        self.engine.guards = {("", "services"): (guard,)}
        # What pods of a namespace that a selector chooses use, as the metrics server would say it.
        self.metrics: Callable[[str, str], Raw] = lambda _namespace, _selector: {"items": []}
        self.pages = Paths(table, "127.0.0.1:6443", Health())

    async def _charge(self, quota: Raw) -> None:
        # Whoever made the pod, it is the server that charges.
        token = WRITER.set("")
        try:
            await self.local.update("", "resourcequotas", quota, "status")
        finally:
            WRITER.reset(token)

    def client(self) -> "InProcess":
        return InProcess(self)


@asynccontextmanager
async def serving(fights: Fights) -> AsyncIterator[Server]:
    async with asyncio.TaskGroup() as tasks:
        server = Server(tasks, fights)
        try:
            yield server
        finally:
            for task in server.engine.caches._running.values():
                task.cancel()


class InProcess(Answering):
    """A client without a network."""

    def __init__(self, server: Server) -> None:
        self._server = server

    def _call(self, method: str, path: str, *, watching: bool = False) -> tuple[Call, str] | None:
        """What is asked of the engine, and the verb; None for a page such as discovery."""
        parts = urlsplit(path)
        engine = self._server.engine
        below = parts.path.startswith(("/api/", "/apis/")) and not parts.path.startswith(_METRICS)
        target = engine.table.target(method, parts.path, watching=watching) if below else None
        if target is None:
            return None
        if target.kind is None:
            raise problems.no_such_resource()
        namespace = target.namespace if target.kind.namespaced else ""
        query = dict(parse_qsl(parts.query))
        call = Call(engine, target.kind, ADMIN, namespace, target.name, target.subresource, query)
        call.agent = WRITER.get() or "user"
        return call, target.verb

    @override
    async def answer(self, asked: Asked) -> bytes:
        # As over a network, others have their turn before the answer is there.
        await asyncio.sleep(0)
        called = self._call(asked.method, asked.path)
        if called is None:
            return await self._page(asked)
        call, verb = called
        answer = await verbs.verb_of(call, verb)(call, _Sent(asked.sent, asked.content_type))
        form = negotiate.negotiate(asked.accept, streams=verb == "list")
        if form is negotiate.PLAIN:
            return plain(answer)
        return Renderer(form, self._server.engine.clock()).body(answer)[0]

    async def _page(self, asked: Asked) -> bytes:
        parts = urlsplit(asked.path)
        query = dict(parse_qsl(parts.query))
        if parts.path.startswith(_METRICS):
            namespace = parts.path.removeprefix(_METRICS).split("/")[0]
            return msgspec.json.encode(self._server.metrics(namespace, query["labelSelector"]))
        found = await self._server.pages.answer(paths.Asked(asked.method, parts.path, query, asked.accept))
        if found.code >= 400:
            raise problems.no_such_resource()
        return found.body

    @override
    @asynccontextmanager
    async def stream(
        self, path: str, *, accept: str = JSON, silence: float = 90.0
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        called = self._call("GET", path, watching=True)
        assert called is not None
        call, _ = called
        form: Form = negotiate.negotiate(accept, streams=True)
        stream, frames = await watch.begin(call, form)
        waiting: asyncio.Queue[bytes] = asyncio.Queue()
        for frame in frames:
            waiting.put_nowait(frame)
        stream.write = waiting.put_nowait
        stream.flow()
        lasts = watch.seconds(options.list_options(call.kind, {**call.query, "watch": "1"}))
        timer = asyncio.get_running_loop().call_later(lasts, stream.end)
        stream.closed.add_done_callback(lambda _closed: waiting.put_nowait(b""))
        try:
            yield _frames(waiting)
        finally:
            timer.cancel()
            stream.end()


async def _frames(waiting: asyncio.Queue[bytes]) -> AsyncIterator[bytes]:
    while frame := await waiting.get():
        yield frame
