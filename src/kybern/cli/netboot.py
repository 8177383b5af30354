"""kybern-netboot: installs the machines that its configuration lists, when they boot over the network."""

import asyncio
import sys
from pathlib import Path

from kybern.daemon import health, logs
from kybern.daemon.flags import Flags, Values
from kybern.daemon.run import Fatal, ready, run
from kybern.netboot.serve import Netboot, application

FLAGS = (
    Flags(
        "kybern-netboot",
        "Installs the machines that its configuration lists, when they boot over the network.",
    )
    .flag("--folder", str, "/srv/kybern-netboot", "Directory of netboot.json, settings/, orders/ and files/.")
    .flag("--state", str, "/var/lib/kybern-netboot", "Directory of this daemon's own, for what it has seen.")
    .flag("--bind-address", str, "", "Address to serve on by plain HTTP; it has to be given.")
    .flag("--port", int, 8069, "Port to serve on.")
)


def main() -> None:
    values = FLAGS.parse(sys.argv[1:])
    logs.setup(values["v"], values["logging-format"])
    run(lambda: _netboot(values))


async def _netboot(values: Values) -> None:
    if not values["bind-address"]:
        raise Fatal(
            "cannot start: nobody is served; give --bind-address, this machine's own on their network"
        )
    try:
        netboot = Netboot(Path(values["folder"]), Path(values["state"]))
    except (OSError, ValueError) as problem:
        raise Fatal(f"cannot read the configuration in {values['folder']}: {problem}") from problem
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(
            health.serve_application(application(netboot), values["bind-address"], values["port"], None)
        )
        ready()
