"""cloud-controller-manager: what nodes, services and routes need of the cloud, in the one process that leads."""

import logging
import sys
from pathlib import Path
from typing import Any

from kybern.cli.cloud_flags import flags
from kybern.cli.managing import Manager, networks
from kybern.cloud import providers
from kybern.cloud.controllers import NAMES, OLD_NAMES, possible
from kybern.cloud.provider import BadConfig, Provider
from kybern.cloud.settings import CloudSettings
from kybern.daemon import logs
from kybern.daemon.flags import Values
from kybern.daemon.run import Fatal, run
from kybern.loop.choice import is_enabled
from kybern.loop.controller import Controller

log = logging.getLogger(__name__)


def settings(values: Values) -> CloudSettings:
    """What the flags tell the controllers."""
    return CloudSettings(
        cluster=values["cluster-name"],
        cluster_cidrs=networks(values, "cluster-cidr"),
        node_monitor_period=values["node-monitor-period"],
        node_status_update_frequency=values["node-status-update-frequency"],
        route_reconciliation_period=values["route-reconciliation-period"],
        concurrent_node_syncs=values["concurrent-node-syncs"],
        concurrent_service_syncs=values["concurrent-service-syncs"],
    )


def opened(values: Values) -> Provider:
    """The provider that is asked for, with its configuration."""
    name, config = values["cloud-provider"], values["cloud-config"]
    if not name:
        raise Fatal("--cloud-provider cannot be empty")
    try:
        text = Path(config).read_text() if config else ""
    except OSError as problem:
        raise Fatal(f"cannot read --cloud-config {config}: {problem.strerror}") from problem
    try:
        return providers.find(name)(text)
    except BadConfig as problem:
        raise Fatal(
            f"cannot use --cloud-provider={name} with --cloud-config={config}: {problem}"
        ) from problem


def chosen(values: Values, cloud: Provider) -> tuple[Controller[Any], ...]:
    """The controllers that are asked for, and that this cloud makes possible."""
    wanted = values["controllers"]
    known = {*NAMES, *OLD_NAMES, "*"}
    if wrong := next((one for one in wanted if one.removeprefix("-") not in known), ""):
        raise Fatal(f'"{wrong}" is not in the list of known controllers')
    has_routes = values["allocate-node-cidrs"] and values["configure-cloud-routes"]
    if has_routes and cloud.routes is not None and not values["cluster-cidr"]:
        raise Fatal("--configure-cloud-routes needs --cluster-cidr")
    found = possible(cloud, settings(values))
    asked = [name for name in NAMES if is_enabled(name, wanted, old_names=OLD_NAMES)]
    if not has_routes:
        asked = [name for name in asked if name != "node-route-controller"]
    for name in set(asked) - {one.name for one in found}:
        log.info("%s does not run: the cloud provider has no such part", name)
    return tuple(one for one in found if one.name in asked)


async def _manage(values: Values) -> None:
    cloud = opened(values)
    try:
        await Manager(flags()).manage(values, chosen(values, cloud))
    finally:
        await cloud.close()


def main() -> None:
    values = flags().parse(sys.argv[1:])
    logs.setup(values["v"], values["logging-format"])
    run(lambda: _manage(values))
