"""kybern-pod-network: routes between the nodes' pods, and the CNI configuration of this node."""

import asyncio
import socket
import sys
from ipaddress import ip_network
from pathlib import Path

from kybern.client import kubeconfig
from kybern.client.rest import Client
from kybern.cni.plan import Network
from kybern.cni.sync import State, Syncer, follow
from kybern.daemon import local, logs
from kybern.daemon.flags import Flags, Values, commas
from kybern.daemon.run import Fatal, ready, run

FLAGS = (
    Flags("kybern-pod-network", "Joins the pods of this node to those of the others.")
    .flag("--kubeconfig", str, "", "Path of a kubeconfig that names the API server and an identity.")
    .flag("--hostname-override", str, "", "Name of this node, when it is not the host's name.")
    .flag("--cni-conf-dir", str, "/etc/cni/net.d", "Where containerd looks for CNI configurations.")
    .flag(
        "--service-cidrs",
        commas,
        (),
        "Networks of the services, so that this node finds a way to them where it has no default route.",
    )
    .flag("--mtu", int, 0, "MTU of the pods' links in bytes; 0 for the node's own.")
)
local.flag(FLAGS, 10262)


def main() -> None:
    values = FLAGS.parse(sys.argv[1:])
    logs.setup(values["v"], values["logging-format"])
    run(lambda: _pod_network(values))


def _networks(texts: tuple[str, ...]) -> tuple[Network, ...]:
    try:
        return tuple(map(ip_network, texts))
    except ValueError as problem:
        raise Fatal(f"cannot use --service-cidrs={','.join(texts)}: {problem}") from problem


async def _pod_network(values: Values) -> None:
    if not values["kubeconfig"]:
        raise Fatal("cannot start: no API server is named; give --kubeconfig")
    state = State()
    me = values["hostname-override"] or socket.gethostname().lower()
    services = _networks(values["service-cidrs"])
    syncer = Syncer(state, me, Path(values["cni-conf-dir"]), ready, values["mtu"], services)
    async with Client(kubeconfig.load(values["kubeconfig"])) as client, asyncio.TaskGroup() as tasks:
        tasks.create_task(follow(client, state))
        tasks.create_task(syncer.run())
        tasks.create_task(local.serve(FLAGS, values, {"sync": lambda: _check(syncer)}))


def _check(syncer: Syncer) -> None:
    if syncer.problem:
        raise Fatal(f"cannot set the routes to other nodes: {syncer.problem}")
