"""kube-scheduler: a node for every pod."""

import asyncio
import socket
import sys
import uuid
from contextlib import AsyncExitStack

from prometheus_client import REGISTRY

from kybern.client import kubeconfig
from kybern.client.events import Recorder
from kybern.client.lease import Election
from kybern.client.rest import Client
from kybern.daemon import health, logs, serving
from kybern.daemon.flags import Flags, Values, duration
from kybern.daemon.run import ready, run
from kybern.daemon.zpages import Pages
from kybern.scheduler.bind import Binder
from kybern.scheduler.config import Config, read
from kybern.scheduler.extender import Extender
from kybern.scheduler.handle import Handle
from kybern.scheduler.metrics import Figures
from kybern.scheduler.run import Scheduler

BINDINGS = 100  # under way at a time

FLAGS = (
    Flags("kube-scheduler", "Decides on which node each pod runs.")
    .flag("--config", str, "", "Path of a KubeSchedulerConfiguration file. Flags win over it.")
    .flag("--kubeconfig", str, "", "Path of a kubeconfig that names the API server and an identity.")
    .flag("--leader-elect", bool, True, "Only the holder of a lease schedules.")
    .flag(
        "--leader-elect-lease-duration", duration, 15.0, "How long others wait for a leader that is silent."
    )
    .flag(
        "--leader-elect-renew-deadline",
        duration,
        10.0,
        "How long the leader tries to renew before it gives up.",
    )
    .flag("--leader-elect-retry-period", duration, 2.0, "Time between two attempts.")
    .flag("--bind-address", str, "0.0.0.0", "Address of the health and metrics port.")
    .flag("--secure-port", int, 10259, "Port of /healthz, /livez, /readyz and /metrics; 0 switches it off.")
    .flag("--tls-cert-file", str, "", "Serving certificate; one is made when it is left out.")
    .flag("--tls-private-key-file", str, "", "Key of the serving certificate.")
    .flag("--client-ca-file", str, "", "Authority of clients' certificates.")
    .flag(
        "--authentication-kubeconfig",
        str,
        "",
        "Accepted for compatibility: metrics are asked for with a certificate.",
    )
    .flag(
        "--authorization-kubeconfig",
        str,
        "",
        "Accepted for compatibility: metrics are asked for with a certificate.",
    )
)


def main() -> None:
    values = FLAGS.parse(sys.argv[1:])
    logs.setup(values["v"])
    run(lambda: _scheduler(values, read(values)))


async def _scheduler(values: Values, config: Config) -> None:
    identity = f"{socket.gethostname().lower()}_{uuid.uuid4()}"
    async with (
        AsyncExitStack() as stack,
        Client(kubeconfig.load(config.kubeconfig)) as client,
        asyncio.TaskGroup() as tasks,
    ):
        recorder = Recorder(client, "default-scheduler")
        extenders = [await stack.enter_async_context(Extender(one)) for one in config.extenders]
        handle = Handle(Binder(client, recorder, asyncio.Semaphore(BINDINGS)), tuple(extenders))
        scheduler = Scheduler(handle, config.profiles, config.delays)
        REGISTRY.register(Figures(scheduler.queue, scheduler.table))
        tasks.create_task(recorder.run())
        if values["secure-port"]:
            address = values["bind-address"], values["secure-port"]
            tls = serving.context(values)
            pages = Pages(FLAGS.name, FLAGS.shown(values), health.PATHS)
            tasks.create_task(health.serve(*address, {}, tls, serving.only_known_clients, pages=pages))
        ready()
        if config.leader_elect:
            await Election(client, config.lease_name, identity, config.lease_namespace, config.timing).run(
                scheduler.run
            )
        else:
            await scheduler.run()
