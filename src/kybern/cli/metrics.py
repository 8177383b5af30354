"""kybern-metrics: what nodes and pods use, for `kubectl top` and autoscalers, behind the API server."""

import asyncio
import socket
import sys

from kybern.api.core_v1 import Node
from kybern.api.discovery_v1 import EndpointPort
from kybern.client import kubeconfig
from kybern.client.cache import Cache
from kybern.client.members import Members
from kybern.client.rest import Client
from kybern.daemon import health, logs
from kybern.daemon.flags import Flags, Values, commas
from kybern.daemon.run import Fatal, ready, run
from kybern.daemon.serving import context
from kybern.metrics.names import PodNames
from kybern.metrics.scrape import Scraper
from kybern.metrics.serve import Metrics, front_proxies

_QUICKEST = 10
_RENEWED = 5.0  # seconds; autoscalers can wait for a dead one to be left out

FLAGS = (
    Flags("kybern-metrics", "Tells what nodes and pods use, as metrics.k8s.io behind the API server.")
    .flag("--kubeconfig", str, "", "Path of a kubeconfig that names the API server and an identity.")
    .flag("--metric-resolution", float, 15.0, "Seconds between two looks at a kubelet; at least 10.")
    .flag("--kubelet-request-timeout", float, 10.0, "Seconds for one look at a kubelet.")
    .flag("--bind-address", str, "0.0.0.0", "Address to serve on.")
    .flag("--secure-port", int, 10251, "Port to serve on, by TLS.")
    .flag("--tls-cert-file", str, "", "PEM file of the serving certificate; one is made when empty.")
    .flag("--tls-private-key-file", str, "", "PEM file of the key that belongs to --tls-cert-file.")
    .flag(
        "--requestheader-client-ca-file", str, "", "PEM file of the authority of front proxies: who may ask."
    )
    .flag("--requestheader-allowed-names", commas, (), "Names of front proxies that may ask; all when empty.")
    .flag("--service", str, "", "NAMESPACE/NAME of the Service whose endpoints are kept; none when empty.")
    .flag("--node-name", str, "", "Name of this machine's Node, when it is not the host's name.")
    .flag("--advertise-address", str, "", "Address of this machine among the endpoints of --service.")
)


def main() -> None:
    values = FLAGS.parse(sys.argv[1:])
    logs.setup(values["v"], values["logging-format"])
    run(lambda: _metrics(values))


async def _metrics(values: Values) -> None:
    _check(values)
    cache = Cache()
    async with Client(kubeconfig.load(values["kubeconfig"])) as client, asyncio.TaskGroup() as tasks:
        scraper = Scraper(
            lambda: cache.list(Node),
            client,
            values["metric-resolution"],
            values["kubelet-request-timeout"],
        )
        for kind in (Node, PodNames):
            cache.add(kind)
            tasks.create_task(cache.feed(client, kind))
        tasks.create_task(_look(cache, scraper))
        tasks.create_task(_serve(values, cache, scraper))
        ready()
        # Not a task: when it is told to stop, it leaves the endpoints first, and only then the server above stops.
        await (_members(values, client, scraper).run() if values["service"] else asyncio.Event().wait())


def _check(values: Values) -> None:
    if not values["kubeconfig"]:
        raise Fatal("cannot start: no API server is named; give --kubeconfig")
    if not values["requestheader-client-ca-file"]:
        raise Fatal("cannot start: nobody may ask; give --requestheader-client-ca-file")
    if values["metric-resolution"] < _QUICKEST:
        raise Fatal(
            f"cannot look every {values['metric-resolution']:g} s: give --metric-resolution of at least {_QUICKEST}"
        )
    if bool(values["service"]) != bool(values["advertise-address"]):
        raise Fatal("cannot keep endpoints: give --service and --advertise-address together, or neither")


async def _look(cache: Cache, scraper: Scraper) -> None:
    await cache.synced()
    await scraper.run()


async def _serve(values: Values, cache: Cache, scraper: Scraper) -> None:
    def looked() -> None:
        if not scraper.rounds:
            raise Fatal("no kubelet has been looked at yet")

    guard = front_proxies(values["requestheader-allowed-names"])
    app = health.application({"metric-collection-timely": looked}, guard)
    Metrics(cache, scraper).routes(app)
    tls = context({**values, "client-ca-file": values["requestheader-client-ca-file"]})
    await health.serve_application(app, values["bind-address"], values["secure-port"], tls)


def _members(values: Values, client: Client, scraper: Scraper) -> Members:
    ports = (EndpointPort(name="https", port=values["secure-port"], protocol="TCP"),)
    node = values["node-name"] or socket.gethostname().lower()
    address = values["advertise-address"]
    return Members(
        client,
        "kybern-metrics",
        values["service"],
        node,
        address,
        ports,
        lambda: scraper.rounds > 0,
        period=_RENEWED,
    )
