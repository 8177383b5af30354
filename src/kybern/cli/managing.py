"""What the two controller managers share: their API server, health and metrics, and leading."""

import asyncio
import os
import socket
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Any

from kybern.client.account import Account, without_identity
from kybern.client.kubeconfig import BadConfig, Config, find
from kybern.client.lease import Election, Lost, Timing
from kybern.client.readers import Readers
from kybern.client.rest import Client
from kybern.client.verbs import Verbs
from kybern.daemon import features, health, serving
from kybern.daemon.flags import Flags, Values, boolean, commas
from kybern.daemon.run import Fatal, ready
from kybern.daemon.zpages import Pages
from kybern.loop import metrics
from kybern.loop.controller import Controller
from kybern.loop.run import Loop


@dataclass(frozen=True, slots=True)
class Manager:
    """``as_itself``: controllers that use no account of their own with --use-service-account-credentials."""

    flags: Flags
    as_itself: frozenset[str] = frozenset()

    async def manage(self, values: Values, controllers: Sequence[Controller[Any]]) -> None:
        """Serve health; lead when it is our turn; run the loop while we lead."""
        config = _config(values)
        said = values["feature-gates"].items()
        features.show({name.removeprefix("kube:"): boolean(text) for name, text in said})
        async with AsyncExitStack() as stack:
            client = await stack.enter_async_context(Client(config))
            # Connections of its own: a lease must not wait while dozens of watches begin.
            elector = await stack.enter_async_context(Client(config))
            account: Callable[[str], Verbs] | None = None
            if values["use-service-account-credentials"]:
                shared = await stack.enter_async_context(Client(without_identity(config)))

                def account(name: str) -> Verbs:
                    return client if name in self.as_itself else Account(shared, client, name)

            async with asyncio.TaskGroup() as tasks:
                health_port = tasks.create_task(self._serve(values, client))
                ready()
                await self._lead(values, elector, lambda: Loop(client, controllers, account).run())
                health_port.cancel()

    async def _serve(self, values: Values, client: Verbs) -> None:
        context = serving.context(values) if values["secure-port"] else None
        address = values["bind-address"], values["secure-port"]
        pages = Pages(self.flags.name, self.flags.shown(values), health.PATHS)
        guard = serving.known_clients(values["authorization-always-allow-paths"], Readers(client).may)
        await health.serve(*address, {}, context, guard, pages=pages)

    async def _lead(self, values: Values, elector: Verbs, work: Callable[[], Awaitable[None]]) -> None:
        if not values["leader-elect"]:
            metrics.LEADING.labels(self.flags.name).set(1)
            await work()
            return
        election = Election(
            elector,
            values["leader-elect-resource-name"],
            f"{socket.gethostname()}_{os.urandom(8).hex()}",
            values["leader-elect-resource-namespace"],
            Timing(
                values["leader-elect-lease-duration"],
                values["leader-elect-renew-deadline"],
                values["leader-elect-retry-period"],
            ),
        )
        leading = metrics.LEADING.labels(values["leader-elect-resource-name"])
        leading.set_function(lambda: float(election.leading))
        try:
            await election.run(work)
        except Lost as problem:
            # A new process is the surest way to have stopped everything that the old one was doing.
            raise Fatal(str(problem)) from problem


def _config(values: Values) -> Config:
    try:
        return find(values["kubeconfig"], values["master"])
    except BadConfig as problem:
        raise Fatal(str(problem)) from problem


def networks(values: Values, flag: str) -> tuple[IPv4Network | IPv6Network, ...]:
    """The ranges that a flag lists."""
    try:
        return tuple(ip_network(one) for one in commas(values[flag]))
    except ValueError as problem:
        raise Fatal(f"invalid CIDR in --{flag}: {problem}") from problem
