"""kube-scheduler: a node for every pod."""

import asyncio
import socket
import sys
import uuid
from contextlib import AsyncExitStack

from prometheus_client import REGISTRY, CollectorRegistry

from kybern.client import kubeconfig
from kybern.client.events import Recorder
from kybern.client.lease import Election, Lost
from kybern.client.readers import Readers
from kybern.client.rest import Client
from kybern.daemon import features, health, logs, serving, shared_flags
from kybern.daemon.flags import Flags, Values, duration
from kybern.daemon.run import Fatal, ready, run
from kybern.daemon.zpages import Pages
from kybern.scheduler.bind import Binder
from kybern.scheduler.config import Config, read
from kybern.scheduler.extender import Extender
from kybern.scheduler.handle import Handle
from kybern.scheduler.metrics import Figures
from kybern.scheduler.pod_resources import PATH, PodResources
from kybern.scheduler.queue import DELAYS
from kybern.scheduler.run import Scheduler

BINDINGS = 100  # under way at a time


def _flags() -> Flags:
    """Upstream's, by group."""
    found = Flags("kube-scheduler", "Decides on which node each pod runs.")
    found.flag("--config", str, "", "Path of a KubeSchedulerConfiguration file. Flags win over it.")
    found.flag("--kubeconfig", str, "", "Path of a kubeconfig that names the API server and an identity.")
    found.flag(
        "--pod-max-in-unschedulable-pods-duration",
        duration,
        DELAYS.refused,
        "After how long a pod that nobody took is tried again whatever happened.",
    )
    found.fixed(
        "--write-config-to", str, "", "the configuration is what --config names, with upstream's defaults"
    )
    shared_flags.client(found, 50.0, 100)
    shared_flags.leading(found, "kube-scheduler")
    shared_flags.serving(found, 10259)
    shared_flags.authentication(found, tolerant=True)
    shared_flags.observing(found)
    shared_flags.features(found)
    return found


FLAGS = _flags()


def main() -> None:
    values = FLAGS.parse(sys.argv[1:])
    logs.setup(values["v"], values["logging-format"])
    run(lambda: _scheduler(values, read(values)))


def _server(config: Config) -> kubeconfig.Config:
    try:
        return kubeconfig.find(config.kubeconfig, config.master)
    except kubeconfig.BadConfig as problem:
        raise Fatal(f"{problem}; give --kubeconfig, or clientConnection.kubeconfig in --config") from problem


async def _serve(values: Values, client: Client, scheduler: Scheduler) -> None:
    """Health, metrics, and what pods ask for."""
    pages = Pages(FLAGS.name, FLAGS.shown(values), tuple(sorted((*health.PATHS, PATH))))
    guard = serving.known_clients(values["authorization-always-allow-paths"], Readers(client).may)
    app = health.application({}, guard, pages=pages, paths=("healthz", "livez"))
    health.tell(app, "readyz", {"sched-handler-sync": scheduler.check})
    resources = CollectorRegistry()
    resources.register(PodResources(lambda: tuple(scheduler.feed.pods.values())))
    health.show(app, PATH, resources)
    await health.serve_application(
        app, values["bind-address"], values["secure-port"], serving.context(values)
    )


async def _scheduler(values: Values, config: Config) -> None:
    identity = f"{socket.gethostname().lower()}_{uuid.uuid4()}"
    async with (
        AsyncExitStack() as stack,
        Client(_server(config)) as client,
        # Connections of its own: a lease must not wait while dozens of watches begin.
        Client(_server(config)) as elector,
        asyncio.TaskGroup() as tasks,
    ):
        recorder = Recorder(client, "default-scheduler")
        extenders = [await stack.enter_async_context(Extender(one)) for one in config.extenders]
        handle = Handle(Binder(client, recorder, asyncio.Semaphore(BINDINGS)), tuple(extenders))
        scheduler = Scheduler(handle, config.profiles, config.delays)
        features.show()
        REGISTRY.register(Figures(scheduler.queue, scheduler.table))
        tasks.create_task(recorder.run())
        if values["secure-port"]:
            tasks.create_task(_serve(values, client, scheduler))
        ready()
        if config.leader_elect:
            election = Election(elector, config.lease_name, identity, config.lease_namespace, config.timing)
            try:
                await election.run(scheduler.run)
            except Lost as problem:
                # A new process is the surest way to have stopped everything that the old one was doing.
                raise Fatal(str(problem)) from problem
        else:
            await scheduler.run()
