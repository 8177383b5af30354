"""kybern-load-balancers: gives services of type LoadBalancer addresses from pools."""

import asyncio
import logging
import os
import socket
import sys

from kybern.balancers import keys
from kybern.balancers.controller import NAME, controller
from kybern.client import kubeconfig
from kybern.client.lease import Election, Lost
from kybern.client.rest import Client
from kybern.daemon import local, logs
from kybern.daemon.flags import Flags, Values
from kybern.daemon.run import Fatal, ready, run
from kybern.loop import metrics
from kybern.loop.run import Loop
from kybern.machinery.errors import ApiError
from kybern.machinery.pools import BadPool, Pool, parse

log = logging.getLogger(__name__)

_KEY_BYTES = 32
_AGAIN = 5.0  # seconds

FLAGS = (
    Flags(NAME, "Gives services of type LoadBalancer addresses from pools.")
    .flag("--kubeconfig", str, "", "Path of a kubeconfig that names the API server and an identity.")
    .flag(
        "--pools",
        str,
        "",
        "Pools as NAME=RANGE,RANGE;NAME=RANGE, where a range is FIRST-LAST, a network or an address.",
    )
)
local.flag(FLAGS, 10264)


def main() -> None:
    values = FLAGS.parse(sys.argv[1:])
    logs.setup(values["v"], values["logging-format"])
    run(lambda: _load_balancers(values))


async def _load_balancers(values: Values) -> None:
    if not values["kubeconfig"]:
        raise Fatal("cannot start: no API server is named; give --kubeconfig")
    pools = _pools(values)
    async with Client(kubeconfig.load(values["kubeconfig"])) as client:
        election = Election(client, NAME, f"{socket.gethostname()}_{os.urandom(8).hex()}")
        metrics.LEADING.labels(NAME).set_function(lambda: float(election.leading))
        ready()
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(local.serve(FLAGS, values, {}))
                tasks.create_task(election.run(lambda: _lead(client, pools)))
        except* Lost as problems:
            # A new process is the surest way to have stopped everything that the old one was doing.
            raise Fatal(str(problems.exceptions[0])) from problems


async def _lead(client: Client, pools: tuple[Pool, ...]) -> None:
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(_key(client))
        tasks.create_task(Loop(client, [controller(pools)]).run())


async def _key(client: Client) -> None:
    """The speakers' key is there; asked for again for ever, since a key that was deleted is to come back."""
    while True:
        try:
            await keys.ensure(client, os.urandom(_KEY_BYTES))
        except ApiError as problem:
            log.warning("cannot make the key of the speakers: %s", problem)
        await asyncio.sleep(_AGAIN)


def _pools(values: Values) -> tuple[Pool, ...]:
    try:
        found = parse(values["pools"])
    except BadPool as problem:
        raise Fatal(f"cannot read --pools: {problem}") from problem
    if not found:
        raise Fatal("cannot start: there is nothing to give; name addresses by --pools")
    return found
