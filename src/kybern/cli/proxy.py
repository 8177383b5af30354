"""kube-proxy: services on this node, by iptables, ipvs or nftables."""

import asyncio
import logging
import os
import socket
import sys

from aiohttp import web

from kybern.api.core_v1 import Node, Service
from kybern.api.discovery_v1 import EndpointSlice
from kybern.client import kubeconfig
from kybern.client.events import Recorder
from kybern.client.rest import Client
from kybern.daemon import features, health, local, logs
from kybern.daemon.flags import Flags, Values, commas, duration
from kybern.daemon.run import Fatal, ready, run
from kybern.daemon.zpages import Pages
from kybern.netfilter.programs import CannotApply, Missing
from kybern.proxy import metrics
from kybern.proxy.backend import Backend, Removable
from kybern.proxy.config import Config, read
from kybern.proxy.conntrack import Conntrack
from kybern.proxy.flags import other_flags
from kybern.proxy.health_ports import HealthPorts
from kybern.proxy.healthz import Healthz
from kybern.proxy.iptables import Iptables
from kybern.proxy.ipvs.backend import Ipvs
from kybern.proxy.ipvs.plan import Options
from kybern.proxy.ipvs.remains import Remains
from kybern.proxy.ipvs.servers import SCHEDULERS
from kybern.proxy.nftables import Nftables
from kybern.proxy.places import Places
from kybern.proxy.rules import Settings
from kybern.proxy.state import State
from kybern.proxy.sync import Syncer, follow
from kybern.proxy.topology import Place
from kybern.proxy.tunables import keep_flows

LOG = logging.getLogger(__name__)
_FLAGS = (
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
    .flag(
        "--iptables-localhost-nodeports",
        bool,
        True,
        "Let node ports answer at 127.0.0.1, too, unless --nodeport-addresses leaves it out; with iptables only.",
    )
    .flag("--conntrack-max-per-core", int, 32768, "Room for so many flows for each processor; 0: as it is.")
    .flag("--conntrack-min", int, 131072, "Room for so many flows at least.")
    .flag(
        "--conntrack-tcp-timeout-established",
        duration,
        86400.0,
        "How long idle connections of TCP are kept; 0: as it is.",
    )
    .flag(
        "--conntrack-tcp-timeout-close-wait", duration, 3600.0, "The same for those in the state CLOSE_WAIT."
    )
    .flag("--conntrack-tcp-be-liberal", bool, False, "Take packets outside of TCP's window for valid ones.")
    .flag("--conntrack-udp-timeout", duration, 0.0, "How long flows of UDP without answer are kept.")
    .flag("--conntrack-udp-timeout-stream", duration, 0.0, "How long flows of UDP with answers are kept.")
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
    .flag("--init-only", bool, False, "Set what the kernel has for flows (--conntrack-*) and exit.")
    .flag("--master", str, "", "The address of the API server; wins over that of the kubeconfig.")
)
FLAGS = other_flags(_FLAGS)


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
    settings = _settings(config)
    iptables, nftables, remains = Iptables(settings), Nftables(settings), Remains(config.ipvs)
    match config.mode:
        case "iptables":
            return iptables, (remains, nftables)
        case "ipvs":
            return Ipvs(settings, config.ipvs), (nftables,)
    return nftables, (iptables, remains)


def _settings(config: Config) -> Settings:
    return Settings(
        config.pod_network(4),
        config.node_port_addresses,
        config.masquerade_all,
        drop_invalid=not config.flows.tcp_be_liberal,
        pod_cidr6=config.pod_network(6),
        localhost_node_ports=config.localhost_node_ports,
    )


async def _proxy(values: Values) -> None:
    config = read(values, socket.gethostname().lower())
    if values["init-only"]:
        keep_flows(config.flows, os.cpu_count() or 1)
        return
    state = State(Place(config.node), config.versions)
    kernel, others = backends(config)
    metrics.register(config.mode)
    features.show()
    keep_flows(config.flows, os.cpu_count() or 1)
    if isinstance(kernel, Ipvs):
        await _check_ipvs(kernel)
    if isinstance(kernel, Iptables):
        await kernel.prepare()
    async with (
        Client(kubeconfig.find(config.kubeconfig, values["master"])) as client,
        Recorder(client, "kube-proxy", config.node) as events,
        asyncio.TaskGroup() as tasks,
    ):
        places = Places(_settings(config), lambda: state.addresses)
        asked = HealthPorts(config.node, events.emit, lambda: not _is_late(syncer, config), places)
        syncer = Syncer(
            state, kernel, others, Conntrack(), asked, config.sync_period, config.min_sync_period, ready
        )
        tasks.create_task(follow(client, Service, state))
        tasks.create_task(follow(client, EndpointSlice, state))
        tasks.create_task(follow(client, Node, state, f"metadata.name={config.node}"))
        tasks.create_task(syncer.run())
        about = Pages(FLAGS.name, FLAGS.shown(values), (*health.PATHS, "/proxyMode"), emulates=False)
        for address in dict.fromkeys(filter(None, (config.healthz, config.metrics))):
            host, port = local.split(address, "0.0.0.0:10256")
            if port:
                app = _application(address, config, syncer, about)
                tasks.create_task(health.serve_application(app, host, port, None))


def _application(address: str, config: Config, syncer: Syncer, about: Pages) -> web.Application:
    """What the daemon is and measures, only where metrics are: that is this node's own address by default."""
    tells, is_asked = address == config.metrics, address == config.healthz
    app = health.application(
        {"sync": lambda: _check(syncer, config)},
        metrics_here=tells,
        pages=about if tells else None,
        paths=("readyz",) if is_asked else ("healthz", "livez", "readyz"),
    )
    if is_asked:
        state = syncer.state
        Healthz(lambda: _is_late(syncer, config), lambda: syncer.updated, lambda: state.eligible).add_to(app)
    if tells:
        app.router.add_get("/proxyMode", lambda _request: _mode(config))
    return app


async def _mode(config: Config) -> web.Response:
    return web.Response(text=config.mode)


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
