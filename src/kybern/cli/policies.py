"""kybern-policies: network policies of the pods of this node, by nftables."""

import asyncio
import socket
import sys
from functools import partial

from kybern.api.core_v1 import Node
from kybern.api.networking_v1 import NetworkPolicy
from kybern.client import kubeconfig
from kybern.client.rest import Client
from kybern.daemon import local, logs
from kybern.daemon.flags import Flags, Values
from kybern.daemon.run import Fatal, ready, run
from kybern.netfilter.programs import CannotApply, Missing
from kybern.policies import metrics
from kybern.policies.follow import State, attend, follow
from kybern.policies.kernel import Kernel
from kybern.policies.records import DIRECTIONS
from kybern.policies.sync import Syncer

FLAGS = (
    Flags("kybern-policies", "Puts network policies in force for the pods of this node.")
    .flag("--kubeconfig", str, "", "Path of a kubeconfig that names the API server and an identity.")
    .flag("--hostname-override", str, "", "Name of this node, when it is not the host's name.")
    .flag("--cleanup", bool, False, "Remove all rules of policies and exit.")
)
local.flag(FLAGS, 10263)


def main() -> None:
    values = FLAGS.parse(sys.argv[1:])
    logs.setup(values["v"], values["logging-format"])
    run(_clean_up if values["cleanup"] else lambda: _policies(values))


async def _clean_up() -> None:
    try:
        await Kernel().remove()
    except Missing:
        return  # without the program there are no rules
    except CannotApply as problem:
        raise Fatal(str(problem)) from problem


async def _policies(values: Values) -> None:
    if not values["kubeconfig"]:
        raise Fatal("cannot start: no API server is named; give --kubeconfig")
    node = values["hostname-override"] or socket.gethostname().lower()
    state = State(node)
    async with Client(kubeconfig.load(values["kubeconfig"])) as client, asyncio.TaskGroup() as tasks:
        tasks.create_task(follow(client, NetworkPolicy, state))
        tasks.create_task(follow(client, Node, state, f"metadata.name={node}"))
        tasks.create_task(attend(client, state))
        syncer = Syncer(state, Kernel(), ready)
        tasks.create_task(syncer.run())
        _count(state)
        tasks.create_task(local.serve(FLAGS, values, {"sync": lambda: _check(syncer)}))


def _count(state: State) -> None:
    metrics.count(lambda: len(state.policies), lambda: state.rules, lambda: state.elements)
    for direction in DIRECTIONS:
        metrics.count_isolated(direction, partial(state.isolated, direction))


def _check(syncer: Syncer) -> None:
    if syncer.problem:
        raise Fatal(f"the rules could not be brought up to date: {syncer.problem}")
