"""The parts of aggregation, wired."""

import asyncio

from kybern.apiserver.aggregation.announce import Announce
from kybern.apiserver.aggregation.authentication import Authentication
from kybern.apiserver.aggregation.availability import Availability
from kybern.apiserver.aggregation.handing import Handing, Routes
from kybern.apiserver.aggregation.learning import Learning
from kybern.apiserver.aggregation.lines import Lines
from kybern.apiserver.aggregation.questions import Questions
from kybern.apiserver.aggregation.registered import Registered
from kybern.apiserver.http import Server
from kybern.apiserver.local import Local
from kybern.apiserver.lookup import CacheLookup, Informers
from kybern.apiserver.openapi import Documents
from kybern.auth.certificates import ProxyHeaders
from kybern.daemon.flags import Values
from kybern.daemon.run import Fatal


def _lines(cert: str, key: str) -> Lines:
    try:
        return Lines(cert, key)
    except OSError as problem:
        raise Fatal(f"kube-apiserver: --proxy-client-cert-file: {problem}") from problem


class Aggregation:
    """``follow`` before the informers start, ``run`` after them."""

    def __init__(self, values: Values, local: Local, lookup: CacheLookup, identity: ProxyHeaders) -> None:
        self.registered = Registered()
        self.lines = _lines(values["proxy-client-cert-file"], values["proxy-client-key-file"])
        routes = Routes(lookup, endpoints=values["enable-aggregator-routing"])
        questions = Questions(routes, self.lines)
        self.handing = Handing(routes, self.lines, identity)
        self.announce = Announce(local.engine.table, self.registered, local)
        self.availability = Availability(self.registered, questions, local, lookup)
        self.learning = Learning(self.registered, questions)
        self.authentication = Authentication(local, values)

    def serve(self, server: Server, documents: Documents) -> None:
        """Have requests handed on, and what others serve told with what this server does."""
        server.remotes, server.hand = self.registered.remotes, self.handing
        server.paths.others = self.learning.foreign
        self.learning.changed = lambda: documents.join(self.learning.lessons)

    def follow(self, informers: Informers) -> None:
        self.registered.follow(informers)

    def run(self, tasks: asyncio.TaskGroup) -> None:
        for part in (self.announce, self.availability, self.learning, self.authentication):
            tasks.create_task(part.run(), name=type(part).__name__.lower())

    async def close(self) -> None:
        await self.lines.close()
