"""kube-proxy: services on this node, by iptables, ipvs or nftables."""

import asyncio
import logging
import socket
import sys

from kybern.api.core_v1 import Node, Service
from kybern.api.discovery_v1 import EndpointSlice
from kybern.client import kubeconfig
from kybern.client.events import Recorder
from kybern.client.rest import Client
from kybern.daemon import health, local, logs
from kybern.daemon.flags import Flags, Values, commas, duration
from kybern.daemon.run import Fatal, ready, run
from kybern.daemon.zpages import Pages
from kybern.netfilter.programs import CannotApply, Missing
from kybern.proxy.backend import Backend, Removable
from kybern.proxy.config import Config, read
from kybern.proxy.conntrack import Conntrack
from kybern.proxy.health_ports import HealthPorts
from kybern.proxy.iptables import Iptables
from kybern.proxy.ipvs.backend import Ipvs
from kybern.proxy.ipvs.plan import Options
from kybern.proxy.ipvs.remains import Remains
from kybern.proxy.ipvs.servers import SCHEDULERS
from kybern.proxy.nftables import Nftables
from kybern.proxy.rules import Settings
from kybern.proxy.state import State
from kybern.proxy.sync import Syncer, follow
from kybern.proxy.topology import Place

LOG = logging.getLogger(__name__)
FLAGS = (
    Flags("kube-proxy", "Makes the services of the cluster reachable from this node.")
    .flag("--config", str, "", "Path of a KubeProxyConfiguration file. Flags win over it.")
    .flag("--kubeconfig", str, "", "Path of a kubeconfig that names the API server and an identity.")
    .flag("--hostname-override", str, "", "Name of this node, when it is not the host's name.")
    .flag(
        "--cluster-cidr",
        str,
        "",
        "The network of the pods, or one of each version of IP; who calls a service from outside it is masqueraded.",
    )
    .flag("--proxy-mode", str, "", "Which backend: iptables (also when empty), ipvs or nftables.")
    .flag("--masquerade-all", bool, False, "Masquerade all traffic to services' cluster IPs.")
    .flag(
        "--nodeport-addresses",
        commas,
        (),
        "Networks in which node ports answer, or primary: the node's first address. When empty: all, with nftables primary.",
    )
    .flag("--iptables-sync-period", duration, 30.0, "How often to look whether others removed our chains.")
    .flag("--iptables-min-sync-period", duration, 1.0, "The least time between two changes of the rules.")
    .flag("--ipvs-sync-period", duration, 30.0, "The same as --iptables-sync-period, for ipvs.")
    .flag("--ipvs-min-sync-period", duration, 1.0, "The same as --iptables-min-sync-period, for ipvs.")
    .flag("--ipvs-scheduler", str, "rr", f"How ipvs chooses an endpoint: {', '.join(SCHEDULERS)}.")
    .flag("--ipvs-strict-arp", bool, False, "Answer to ARP only for addresses of the device that is asked.")
    .flag(
        "--ipvs-exclude-cidrs",
        commas,
        (),
        "Networks whose virtual servers are somebody else's and are left alone.",
    )
    .flag("--ipvs-tcp-timeout", duration, 0.0, "How long ipvs keeps idle connections of TCP; 0: as it is.")
    .flag("--ipvs-tcpfin-timeout", duration, 0.0, "The same for those that are being closed.")
    .flag("--ipvs-udp-timeout", duration, 0.0, "The same for UDP.")
    .flag("--healthz-bind-address", str, "0.0.0.0:10256", "Address of /healthz; empty switches it off.")
    .flag("--metrics-bind-address", str, "127.0.0.1:10249", "Address of /metrics; empty switches it off.")
    .flag("--cleanup", bool, False, "Remove all rules of kube-proxy and exit.")
)


def main() -> None:
    values = FLAGS.parse(sys.argv[1:])
    logs.setup(values["v"], values["logging-format"])
    run(lambda: _clean_up() if values["cleanup"] else _proxy(values))


async def _clean_up() -> None:
    """All modes' rules go. That a mode's program is not there is told, and no error: it left nothing then."""
    for one in (Iptables(Settings("")), Remains(Options()), Nftables(Settings(""))):
        try:
            await one.remove()
        except Missing as problem:
            LOG.warning("%s", problem)
        except CannotApply as problem:
            raise Fatal(str(problem)) from problem


def backends(config: Config) -> tuple[Backend, tuple[Removable, ...]]:
    """That of the mode, and what others may have left.

    Iptables and ipvs take over each other's chains by themselves; a set goes after the chains that ask it.
    """
    settings = Settings(
        config.pod_network(4),
        config.node_port_addresses,
        config.masquerade_all,
        pod_cidr6=config.pod_network(6),
    )
    iptables, nftables, remains = Iptables(settings), Nftables(settings), Remains(config.ipvs)
    match config.mode:
        case "iptables":
            return iptables, (remains, nftables)
        case "ipvs":
            return Ipvs(settings, config.ipvs), (nftables,)
    return nftables, (iptables, remains)


async def _proxy(values: Values) -> None:
    config = read(values, socket.gethostname().lower())
    state = State(Place(config.node), config.versions)
    kernel, others = backends(config)
    if isinstance(kernel, Ipvs):
        await _check_ipvs(kernel)
    async with (
        Client(kubeconfig.load(config.kubeconfig)) as client,
        Recorder(client, "kube-proxy", config.node) as events,
        asyncio.TaskGroup() as tasks,
    ):
        asked = HealthPorts(config.node, events.emit, lambda: not _is_late(syncer, config))
        syncer = Syncer(
            state, kernel, others, Conntrack(), asked, config.sync_period, config.min_sync_period, ready
        )
        tasks.create_task(follow(client, Service, state))
        tasks.create_task(follow(client, EndpointSlice, state))
        tasks.create_task(follow(client, Node, state, f"metadata.name={config.node}"))
        tasks.create_task(syncer.run())
        # What the daemon is, only where metrics are: that is this node's own address by default.
        about = Pages(FLAGS.name, FLAGS.shown(values), health.PATHS, emulates=False)
        for address in dict.fromkeys(filter(None, (config.healthz, config.metrics))):
            host, port = local.split(address, "0.0.0.0:10256")
            pages = about if address == config.metrics else None
            checks = {"sync": lambda: _check(syncer, config)}
            tasks.create_task(health.serve(host, port, checks, None, pages=pages))


async def _check_ipvs(kernel: Ipvs) -> None:
    """As upstream, there is no falling back to another mode."""
    try:
        await kernel.check()
    except CannotApply as problem:
        raise Fatal(f"cannot start in proxy mode ipvs: {problem}") from problem
    LOG.warning(
        "the mode ipvs is deprecated in Kubernetes, and may be removed in a later version; use nftables instead"
    )


def _is_late(syncer: Syncer, config: Config) -> bool:
    """Whether changes wait for more than two periods to reach the kernel, as upstream's proxier health.

    Other than upstream's, it is late until it has written the rules for the first time, too: who asks leads traffic here.
    """
    age = asyncio.get_running_loop().time() - syncer.healthy
    return not syncer.healthy or (syncer.state.changed.is_set() and age > 2 * config.sync_period)


def _check(syncer: Syncer, config: Config) -> None:
    if _is_late(syncer, config):
        raise Fatal("the rules could not be brought up to date")
