"""kybern-ingress: makes haproxy's configuration from Ingress objects, and keeps haproxy at it."""

import asyncio
import os
import socket
import sys
from pathlib import Path
from typing import Any

from kybern.api.core_v1 import Secret
from kybern.api.networking_v1 import Ingress
from kybern.client import kubeconfig
from kybern.client.cache import Cache
from kybern.client.events import Recorder
from kybern.client.lease import Election, Lost
from kybern.client.rest import Client
from kybern.daemon import local, logs
from kybern.daemon.files import replace_file
from kybern.daemon.flags import Flags, Values, commas
from kybern.daemon.run import Fatal, ready, run
from kybern.daemon.self_signed import pair
from kybern.ingress.haproxy import Haproxy
from kybern.ingress.model import Problem
from kybern.ingress.render import Place
from kybern.ingress.status import NAME, controller
from kybern.ingress.sync import KINDS, Syncer
from kybern.loop import metrics as leading
from kybern.loop.run import Loop

_SELF_SIGNED = "default.pem"

FLAGS = (
    Flags(NAME, "Makes haproxy's configuration from Ingress objects, and keeps haproxy at it.")
    .flag("--kubeconfig", str, "", "Path of a kubeconfig that names the API server and an identity.")
    .flag(
        "--publish-addresses",
        commas,
        (),
        "Addresses of all machines that serve Ingresses, for their statuses.",
    )
    .flag("--folder", str, "/var/lib/kybern-ingress", "Directory of the configuration, of this daemon's own.")
    .flag(
        "--control-socket",
        str,
        "/run/kybern-ingress/haproxy.sock",
        "Where haproxy is asked what it runs with.",
    )
    .flag("--master-socket", str, "/run/kybern-ingress/master.sock", "Where haproxy is told to load anew.")
    .flag("--control-user", str, "", "User that may ask haproxy; who runs haproxy, when empty.")
    .flag("--haproxy-user", str, "", "User that haproxy becomes; it stays who it is, when empty.")
    .flag("--http-bind", str, ":80", "Where haproxy serves HTTP.")
    .flag("--https-bind", str, ":443", "Where haproxy serves HTTPS.")
    .flag("--health-bind", str, ":10254", "Where haproxy serves /healthz and /metrics.")
)
local.flag(FLAGS, 10266)


def main() -> None:
    values = FLAGS.parse(sys.argv[1:])
    logs.setup(values["v"], values["logging-format"])
    run(lambda: _ingress(values))


async def _ingress(values: Values) -> None:
    if not values["kubeconfig"]:
        raise Fatal("cannot start: no API server is named; give --kubeconfig")
    folder, cache = Path(values["folder"]), Cache()
    haproxy = Haproxy(folder, Path(values["control-socket"]), Path(values["master-socket"]))
    async with Client(kubeconfig.load(values["kubeconfig"])) as client:
        election = Election(client, NAME, f"{socket.gethostname()}_{os.urandom(8).hex()}")
        recorder = Recorder(client, NAME)

        def tell(problem: Problem) -> None:
            about = cache.get(Ingress, *problem.key)
            if about is not None and election.leading:
                recorder.emit(about, "Warning", problem.reason, problem.message)

        leading.LEADING.labels(NAME).set_function(lambda: float(election.leading))
        syncer = Syncer(cache, haproxy, _place(values, folder), tell, ready)
        try:
            async with asyncio.TaskGroup() as tasks:
                for kind in KINDS:
                    cache.add(kind)
                    tasks.create_task(_feed(client, cache, kind, syncer))
                tasks.create_task(recorder.run())
                tasks.create_task(syncer.run())
                tasks.create_task(local.serve(FLAGS, values, {"sync": lambda: _check(syncer)}))
                tasks.create_task(election.run(lambda: _lead(client, values, syncer)))
        except* Lost as problems:
            # A new process is the surest way to have stopped everything that the old one was doing.
            raise Fatal(str(problems.exceptions[0])) from problems


def _check(syncer: Syncer) -> None:
    if syncer.problem:
        raise Fatal(f"haproxy does not have what it should: {syncer.problem}")


async def _feed(client: Client, cache: Cache, kind: type[Any], syncer: Syncer) -> None:
    # Of secrets, only those that are made for this.
    only = "type=kubernetes.io/tls" if kind is Secret else ""
    await cache.feed(client, kind, field_selector=only, tell=lambda _: syncer.changed.set())


async def _lead(client: Client, values: Values, syncer: Syncer) -> None:
    """Write statuses; and tell the problems that are there, since nobody may have told them."""
    syncer.tell_again()
    await Loop(client, [controller(values["publish-addresses"])]).run()


def _place(values: Values, folder: Path) -> Place:
    return Place(
        http=values["http-bind"],
        https=values["https-bind"],
        health=values["health-bind"],
        control=values["control-socket"],
        control_user=values["control-user"],
        user=values["haproxy-user"],
        default_certificate=_default(folder / _SELF_SIGNED),
    )


def _default(path: Path) -> str:
    """For names that no Ingress has a certificate for; kept, so that a restart changes nothing."""
    if not path.exists():
        certificate, key = pair(["ingress.kybern.invalid"])
        replace_file(path, certificate + key)
    return path.read_text()
