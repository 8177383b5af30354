"""kybern-cloud-volumes-node: a cloud's volumes as file systems and devices of this node's pods."""

import asyncio
import socket
import sys
from pathlib import Path

from kybern.cloud.volumes.plugin import Plugin
from kybern.daemon import logs
from kybern.daemon.flags import Flags, Values
from kybern.daemon.run import ready, run

FLAGS = (
    Flags(
        "kybern-cloud-volumes-node",
        "Shows a cloud's volumes to pods of this node, as a storage driver (CSI).",
    )
    .flag("--hostname-override", str, "", "Name of this node, when it is not the host's name.")
    .flag("--kubelet-root-dir", str, "/var/lib/kubelet", "The kubelet's --root-dir, where volumes are shown.")
)


def main() -> None:
    values = FLAGS.parse(sys.argv[1:])
    logs.setup(values["v"], values["logging-format"])
    run(lambda: _serve(values))


async def _serve(values: Values) -> None:
    node = values["hostname-override"] or socket.gethostname().lower()
    async with Plugin(node, Path(values["kubelet-root-dir"])).served():
        ready()
        await asyncio.get_running_loop().create_future()
