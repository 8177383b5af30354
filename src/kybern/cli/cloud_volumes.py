"""kybern-cloud-volumes: makes, attaches and takes back a cloud's volumes, in the one process that leads."""

import sys

from kybern.cli.cloud_controller_manager import opened
from kybern.cli.managing import Manager
from kybern.cloud.volumes.controllers import controllers
from kybern.daemon import logs, shared_flags
from kybern.daemon.flags import Flags, Values
from kybern.daemon.run import Fatal, run

NAME = "kybern-cloud-volumes"
PORT = 10267


def flags() -> Flags:
    found = Flags(NAME, "Makes, attaches and takes back volumes of the cloud around a cluster (CSI).")
    found.flag("--cloud-provider", str, "", "The provider of the cloud, such as libvirt.")
    found.flag("--cloud-config", str, "", "The path to the cloud provider configuration file.")
    found.flag(
        "--kubeconfig", str, "", "Path to kubeconfig file with authorization and master location information."
    )
    found.flag(
        "--use-service-account-credentials",
        bool,
        False,
        "Use individual service account credentials for each controller.",
    )
    shared_flags.client(found, 20.0, 30)
    shared_flags.leading(found, NAME)
    shared_flags.serving(found, PORT)
    shared_flags.authentication(found, tolerant=False)
    shared_flags.observing(found)
    shared_flags.features(found)
    return found


async def _manage(values: Values) -> None:
    cloud = opened(values)
    try:
        # A provider of before this part has no such name.
        volumes = getattr(cloud, "volumes", None)
        if volumes is None:
            raise Fatal(
                f"--cloud-provider={values['cloud-provider']} with --cloud-config={values['cloud-config']} "
                "has no volumes; libvirt has, when its configuration says volumes: true"
            )
        await Manager(flags()).manage(values, controllers(volumes))
    finally:
        await cloud.close()


def main() -> None:
    values = flags().parse(sys.argv[1:])
    logs.setup(values["v"], values["logging-format"])
    run(lambda: _manage(values))
