"""kybern-local-volumes: volumes of this node's disk, made for claims and shown to pods."""

import asyncio
import random
import socket
import sys
from pathlib import Path

from kybern.client import kubeconfig
from kybern.client.events import Recorder
from kybern.client.rest import Client
from kybern.daemon import logs
from kybern.daemon.flags import Flags, Values
from kybern.daemon.run import Fatal, ready, run
from kybern.local_volumes.names import DRIVER
from kybern.local_volumes.plugin import Plugin
from kybern.local_volumes.provisioner import Provisioner
from kybern.local_volumes.store import Store

_SPREAD = 2.0  # seconds over which nodes ask for a claim that any of them may have

FLAGS = (
    Flags("kybern-local-volumes", "Makes volumes of this node's disk for claims, as a storage driver (CSI).")
    .flag("--kubeconfig", str, "", "Path of a kubeconfig that names the API server and an identity.")
    .flag("--hostname-override", str, "", "Name of this node, when it is not the host's name.")
    .flag("--root-dir", str, "/var/lib/kybern-volumes", "Directory of the volumes, of this driver's own.")
    .flag("--kubelet-root-dir", str, "/var/lib/kubelet", "The kubelet's --root-dir, where volumes are shown.")
)


def main() -> None:
    values = FLAGS.parse(sys.argv[1:])
    logs.setup(values["v"], values["logging-format"])
    run(lambda: _local_volumes(values))


async def _local_volumes(values: Values) -> None:
    if not values["kubeconfig"]:
        raise Fatal("cannot start: no API server is named; give --kubeconfig")
    node = values["hostname-override"] or socket.gethostname().lower()
    store = await asyncio.to_thread(Store.at, Path(values["root-dir"]))
    plugin = Plugin(store, node, Path(values["kubelet-root-dir"]))
    async with Client(kubeconfig.load(values["kubeconfig"])) as client, plugin.served():
        recorder = Recorder(client, f"{DRIVER}_{node}")
        # Not needed for a secret: only so that nodes do not all ask at once.
        provisioner = Provisioner(client, store, recorder, node, lambda: random.uniform(0, _SPREAD))  # noqa: S311
        ready()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(recorder.run())
            tasks.create_task(provisioner.run())
