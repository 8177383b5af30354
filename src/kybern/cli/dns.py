"""kybern-dns: the names of the cluster, and a cache in front of other name servers."""

import asyncio
import socket
import sys
from collections.abc import Callable

from aiohttp import web

from kybern.api.discovery_v1 import EndpointPort
from kybern.client import kubeconfig
from kybern.client.members import Members
from kybern.client.rest import Client
from kybern.daemon import health, local, logs
from kybern.daemon.flags import Flags, Values, commas
from kybern.daemon.run import Fatal, ready, run
from kybern.dns.config import Config, read
from kybern.dns.follow import Names
from kybern.dns.forward import Forwarder
from kybern.dns.metrics import ENTRIES, IS_COMPLETE, NAMES, Counts
from kybern.dns.respond import Responder
from kybern.dns.serve import Connections, Datagrams, bound
from kybern.dns.zone import Zone

_EXAMPLE = "0.0.0.0:9153"  # an address to listen on

FLAGS = (
    Flags("kybern-dns", "Answers for the names of the cluster, and asks other name servers for the rest.")
    .flag("--config", str, "", "Path of a DNSConfiguration file. Flags win over it.")
    .flag("--kubeconfig", str, "", "Path of a kubeconfig that names the API server and an identity.")
    .flag("--cluster-domain", str, "cluster.local", "The domain of the cluster's names.")
    .flag("--cluster-dns", commas, (), "Addresses of the cluster's DNS service.")
    .flag("--bind-address", commas, ("0.0.0.0",), "Addresses to answer on; answers leave from them.")
    .flag("--port", int, 53, "The port to answer on, by UDP and TCP.")
    .flag(
        "--health-bind-address",
        str,
        "0.0.0.0:9153",
        "Address of /health, /ready and /metrics; empty for none.",
    )
    .flag("--ttl", int, 30, "Seconds for which the cluster's records may be kept.")
    .flag(
        "--negative-ttl", int, 5, "Seconds for which it may be kept that a name of the cluster is not there."
    )
    .flag("--cache-seconds", int, 300, "The longest that an answer of another name server is kept.")
    .flag(
        "--stale-seconds",
        int,
        0,
        "Seconds for which an answer whose time is over is given while no server answers.",
    )
    .flag(
        "--cluster-servers",
        commas,
        (),
        "Name servers of the cluster: with them this is a cache, without names of its own.",
    )
    .flag("--pod-records", bool, True, "Answer names such as 10-1-2-3.NAMESPACE.pod.")
    .flag("--upstreams", commas, (), "Name servers for all other names; those of --resolv-conf when empty.")
    .flag("--resolv-conf", str, "/etc/resolv.conf", "Where the machine's name servers are listed.")
    .flag("--service", str, "", "NAMESPACE/NAME of the Service whose endpoints are kept; none when empty.")
    .flag("--node-name", str, "", "Name of this machine's Node, when it is not the host's name.")
    .flag("--advertise-address", str, "", "Address of this machine among the endpoints of --service.")
)


def main() -> None:
    values = FLAGS.parse(sys.argv[1:])
    logs.setup(values["v"], values["logging-format"])
    run(lambda: _dns(values))


async def _dns(values: Values) -> None:
    config = read(values)
    await (_cache(config) if config.cluster_servers else _names(config))


async def _cache(config: Config) -> None:
    """A node's cache: no zone and no API server, so nothing has to be waited for."""
    counts = Counts()
    counts.register()
    IS_COMPLETE.set(1)
    async with asyncio.TaskGroup() as tasks:
        forwarder = _forwarder(config, tasks, counts)
        _serve(config, Responder(None, config.answers, forwarder, counts, lambda: True), tasks)
        if config.health:
            tasks.create_task(_health(config, lambda: True))
        ready()
        await asyncio.Event().wait()


def _forwarder(config: Config, tasks: asyncio.TaskGroup, counts: Counts) -> Forwarder:
    made = Forwarder(
        config.upstreams, tasks, counts, config.stubs, config.cache_seconds, config.stale_seconds
    )
    ENTRIES.labels("dns://:53", ".").set_function(lambda: len(made))
    return made


def _serve(config: Config, responder: Responder, tasks: asyncio.TaskGroup) -> None:
    for address in config.addresses:
        tasks.create_task(Datagrams(bound(address, config.port), responder, tasks).run())
        tasks.create_task(Connections(address, config.port, responder, tasks).run())


async def _names(config: Config) -> None:
    names, counts = Names(Zone(config.domain)), Counts()
    counts.register()
    IS_COMPLETE.set_function(lambda: names.complete)
    NAMES.set_function(lambda: len(names.zone))
    async with Client(kubeconfig.load(config.kubeconfig)) as client, asyncio.TaskGroup() as tasks:
        forwarder = _forwarder(config, tasks, counts)
        responder = Responder(names.zone, config.answers, forwarder, counts, lambda: names.complete)
        _serve(config, responder, tasks)
        tasks.create_task(names.follow(client))
        if config.health:
            tasks.create_task(_health(config, lambda: names.complete))
        ready()
        # Not a task: when it is told to stop, it leaves the endpoints first, and only then the servers above stop.
        await (_members(config, client, names).run() if config.service else asyncio.Event().wait())


def _members(config: Config, client: Client, names: Names) -> Members:
    if not config.advertise:
        raise Fatal(f"cannot keep the endpoints of {config.service}: give --advertise-address")
    ports = [
        EndpointPort(name="dns", port=config.port, protocol="UDP"),
        EndpointPort(name="dns-tcp", port=config.port, protocol="TCP"),
    ]
    if config.health:
        ports.append(
            EndpointPort(name="metrics", port=local.split(config.health, _EXAMPLE)[1], protocol="TCP")
        )
    node = config.node or socket.gethostname().lower()
    return Members(
        client, "kybern-dns", config.service, node, config.advertise, tuple(ports), lambda: names.complete
    )


async def _health(config: Config, is_complete: Callable[[], bool]) -> None:
    """The paths of our other daemons, and those that CoreDNS is asked for."""

    def complete() -> None:
        if not is_complete():
            raise Fatal("the names of the cluster are not known yet")

    async def alive(_request: web.Request) -> web.Response:
        return web.Response(text="OK")

    async def serving(_request: web.Request) -> web.Response:
        return web.Response(text="OK") if is_complete() else web.Response(status=503, text="kubernetes")

    app = health.application({"names": complete})
    app.router.add_get("/health", alive)
    app.router.add_get("/ready", serving)
    await health.serve_application(app, *local.split(config.health, _EXAMPLE), None)
