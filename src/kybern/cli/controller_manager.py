"""kube-controller-manager: every control loop of the cluster, in the one process that leads."""

import asyncio
import os
import socket
import sys
from collections.abc import Callable
from contextlib import AsyncExitStack
from ipaddress import ip_network
from pathlib import Path
from typing import Any

from kybern.client.account import Account, without_identity
from kybern.client.kubeconfig import BadConfig, Config, find
from kybern.client.lease import Election, Lost, Timing
from kybern.client.rest import Client
from kybern.client.verbs import Verbs
from kybern.controllers import CONTROLLERS
from kybern.daemon import health, logs, serving, tls
from kybern.daemon.flags import Flags, Values, commas, duration
from kybern.daemon.run import Fatal, ready, run
from kybern.daemon.zpages import Pages
from kybern.loop import metrics
from kybern.loop.choice import is_enabled, unknown
from kybern.loop.controller import Controller
from kybern.loop.run import Loop
from kybern.loop.settings import Settings

NAME = "kube-controller-manager"
# Upstream's flags that mean something only to parts that we do not have, or to its own inner workings.
_ACCEPTED = (
    "--kube-api-content-type", "--feature-gates", "--cloud-provider", "--cluster-name", "--profiling", "--logging-format",
    "--flex-volume-plugin-dir", "--leader-elect-resource-lock",
    "--requestheader-client-ca-file", "--requestheader-allowed-names", "--requestheader-username-headers",
    "--requestheader-group-headers", "--requestheader-extra-headers-prefix", "--authorization-always-allow-paths",
)  # fmt: skip


# Who fills in the tokens of accounts cannot wait for a token of its own; upstream gives it no account either.
_AS_ITSELF = frozenset({"tokens-controller"})


def flags() -> Flags:
    """Upstream's, by group: where the API server is, leading, serving, what controllers are told."""
    found = Flags(
        NAME,
        "The Kubernetes controller manager runs the control loops that move a cluster to what is wanted.",
    )
    found.flag(
        "--kubeconfig", str, "", "Path to kubeconfig file with authorization and master location information."
    )
    found.flag(
        "--master", str, "", "The address of the Kubernetes API server (overrides any value in kubeconfig)."
    )
    found.flag("--authentication-kubeconfig", str, "", "Kubeconfig that may create tokenreviews.")
    found.flag("--authorization-kubeconfig", str, "", "Kubeconfig that may create subjectaccessreviews.")
    found.flag(
        "--use-service-account-credentials",
        bool,
        False,
        "Use individual service account credentials for each controller.",
    )
    found.flag("--kube-api-qps", float, 20.0, "Accepted; requests are limited by what waits for them.")
    found.flag("--kube-api-burst", int, 30, "Accepted; requests are limited by what waits for them.")
    found.flag(
        "--controllers",
        commas,
        ("*",),
        "Controllers to enable: '*' all, 'foo' that one, '-foo' not that one.",
    )
    for name in _ACCEPTED:
        found.flag(name, str, "", "Accepted; has no effect here.")
    _leading(found)
    _serving(found)
    return _controllers(found)


def _leading(found: Flags) -> None:
    found.flag("--leader-elect", bool, True, "Lead only while holding the lease.")
    found.flag(
        "--leader-elect-lease-duration", duration, 15.0, "How long a lease is valid that is not renewed."
    )
    found.flag(
        "--leader-elect-renew-deadline",
        duration,
        10.0,
        "How long the leader tries to renew before it gives up.",
    )
    found.flag("--leader-elect-retry-period", duration, 2.0, "How long to wait between attempts.")
    found.flag("--leader-elect-resource-name", str, NAME, "The name of the lease.")
    found.flag("--leader-elect-resource-namespace", str, "kube-system", "The namespace of the lease.")


def _serving(found: Flags) -> None:
    found.flag("--bind-address", str, "0.0.0.0", "The address on which to serve health and metrics.")
    found.flag("--secure-port", int, 10257, "The port on which to serve HTTPS; 0 for none.")
    found.flag("--tls-cert-file", str, "", "The serving certificate; without one, one is made in memory.")
    found.flag("--tls-private-key-file", str, "", "The serving certificate's key.")
    found.flag(
        "--tls-min-version", tls.minimum_version, tls.minimum_version(""), "VersionTLS12 or VersionTLS13."
    )
    found.flag("--tls-cipher-suites", commas, (), "Accepted ciphers, as OpenSSL names them.")
    found.flag("--cert-dir", str, "", "Accepted; a certificate that is made is kept in memory only.")
    found.flag(
        "--client-ca-file", str, "", "Who presents a client certificate of this authority may read metrics."
    )


def _controllers(found: Flags) -> Flags:
    found.flag(
        "--cluster-cidr", str, "", "CIDR range for pods in the cluster; two, comma-separated, for dual stack."
    )
    found.flag("--service-cluster-ip-range", str, "", "CIDR range for services in the cluster.")
    found.flag("--allocate-node-cidrs", bool, False, "Give nodes ranges of the cluster CIDR.")
    found.flag("--node-cidr-mask-size", int, 0, "Mask size for node ranges (24, or 64 for IPv6).")
    found.flag("--node-cidr-mask-size-ipv4", int, 0, "Mask size for IPv4 node ranges.")
    found.flag("--node-cidr-mask-size-ipv6", int, 0, "Mask size for IPv6 node ranges.")
    found.flag("--root-ca-file", str, "", "The authority that is published in every namespace.")
    found.flag(
        "--service-account-private-key-file", str, "", "Signs the tokens that are kept in secrets, in PEM."
    )
    found.flag("--cluster-signing-cert-file", str, "", "The authority that signs certificate requests.")
    found.flag("--cluster-signing-key-file", str, "", "Its key.")
    found.flag(
        "--cluster-signing-duration",
        duration,
        365 * 86400.0,
        "How long signed certificates are valid at most.",
    )
    found.flag("--node-monitor-period", duration, 5.0, "How often to look at nodes.")
    found.flag(
        "--node-monitor-grace-period", duration, 50.0, "How long a node may be silent before it is Unknown."
    )
    found.flag("--node-startup-grace-period", duration, 60.0, "The same, for a node that never spoke.")
    found.flag("--node-eviction-rate", float, 0.1, "Nodes a second whose pods are ended, in a healthy zone.")
    found.flag("--secondary-node-eviction-rate", float, 0.01, "The same, in an unhealthy zone.")
    found.flag("--large-cluster-size-threshold", int, 50, "Smaller unhealthy zones end no pods at all.")
    found.flag(
        "--unhealthy-zone-threshold", float, 0.55, "The share of nodes not ready that makes a zone unhealthy."
    )
    found.flag("--terminated-pod-gc-threshold", int, 12500, "Finished pods to keep.")
    found.flag("--max-endpoints-per-slice", int, 100, "Endpoints in one slice at most.")
    found.flag(
        "--mirroring-max-endpoints-per-subset",
        int,
        1000,
        "Endpoints in one slice at most, of those that mirror Endpoints.",
    )
    found.flag(
        "--legacy-service-account-token-clean-up-period",
        duration,
        365 * 86400.0,
        "How long a generated token may be unused before it is marked as invalid, and again before it is deleted.",
    )
    return _autoscaling(found)


def _autoscaling(found: Flags) -> Flags:
    prefix = "--horizontal-pod-autoscaler"
    found.flag(f"{prefix}-sync-period", duration, 15.0, "How often to look at an autoscaler.")
    found.flag(f"{prefix}-tolerance", float, 0.1, "How far from its target a metric may be before it counts.")
    found.flag(
        f"{prefix}-downscale-stabilization",
        duration,
        300.0,
        "How long a higher recommendation is remembered.",
    )
    found.flag(
        f"{prefix}-cpu-initialization-period",
        duration,
        300.0,
        "How long after its start a pod's CPU samples may be skipped.",
    )
    found.flag(
        f"{prefix}-initial-readiness-delay",
        duration,
        30.0,
        "How long after its start a change of readiness is taken as the first one.",
    )
    return found


def _content(path: str) -> str:
    try:
        return Path(path).read_text() if path else ""
    except OSError as problem:
        raise Fatal(f"cannot read {path}: {problem.strerror}") from problem


def settings(values: Values) -> Settings:
    """What the flags tell the controllers."""
    try:
        pods = tuple(ip_network(one) for one in commas(values["cluster-cidr"]))
        services = tuple(ip_network(one) for one in commas(values["service-cluster-ip-range"]))
    except ValueError as problem:
        raise Fatal(f"invalid CIDR in --cluster-cidr or --service-cluster-ip-range: {problem}") from problem
    mask = values["node-cidr-mask-size"]
    return Settings(
        cluster_cidrs=pods,
        service_cidrs=services,
        allocate_node_cidrs=values["allocate-node-cidrs"],
        node_mask_ipv4=values["node-cidr-mask-size-ipv4"] or mask or 24,
        node_mask_ipv6=values["node-cidr-mask-size-ipv6"] or mask or 64,
        root_ca=_content(values["root-ca-file"]),
        token_key=_content(values["service-account-private-key-file"]),
        signing_cert=_content(values["cluster-signing-cert-file"]),
        signing_key=_content(values["cluster-signing-key-file"]),
        signing_duration=values["cluster-signing-duration"],
        node_monitor_period=values["node-monitor-period"],
        node_monitor_grace=values["node-monitor-grace-period"],
        node_startup_grace=values["node-startup-grace-period"],
        node_eviction_rate=values["node-eviction-rate"],
        secondary_eviction_rate=values["secondary-node-eviction-rate"],
        large_cluster=values["large-cluster-size-threshold"],
        unhealthy_zone=values["unhealthy-zone-threshold"],
        terminated_pods=values["terminated-pod-gc-threshold"],
        max_endpoints_per_slice=values["max-endpoints-per-slice"],
        max_mirrored_endpoints=values["mirroring-max-endpoints-per-subset"],
        legacy_token_period=values["legacy-service-account-token-clean-up-period"],
        autoscaler_period=values["horizontal-pod-autoscaler-sync-period"],
        autoscaler_tolerance=values["horizontal-pod-autoscaler-tolerance"],
        autoscaler_downscale_window=values["horizontal-pod-autoscaler-downscale-stabilization"],
        autoscaler_cpu_period=values["horizontal-pod-autoscaler-cpu-initialization-period"],
        autoscaler_readiness_delay=values["horizontal-pod-autoscaler-initial-readiness-delay"],
    )


def chosen(values: Values, told: Settings) -> tuple[Controller[Any], ...]:
    """The controllers that are asked for and have what they need."""
    made = [make(told) for make in CONTROLLERS]
    wrong = unknown(values["controllers"], (one.name for one in made))
    if wrong:
        raise Fatal(f'"{wrong[0]}" is not in the list of known controllers')
    lacking = {
        "node-ipam-controller": not told.allocate_node_cidrs,
        "root-ca-certificate-publisher-controller": not told.root_ca,
        "serviceaccount-token-controller": not told.token_key,
        "certificatesigningrequest-signing-controller": not (told.signing_cert and told.signing_key),
    }
    if told.allocate_node_cidrs and not told.cluster_cidrs:
        raise Fatal("--allocate-node-cidrs needs --cluster-cidr")
    return tuple(
        one for one in made if is_enabled(one.name, values["controllers"]) and not lacking.get(one.name)
    )


def _config(values: Values) -> Config:
    try:
        return find(values["kubeconfig"], values["master"])
    except BadConfig as problem:
        raise Fatal(str(problem)) from problem


async def manage(values: Values) -> None:
    """Serve health; lead when it is our turn; run the loop while we lead."""
    config, told = _config(values), settings(values)
    controllers = chosen(values, told)
    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(Client(config))
        account: Callable[[str], Verbs] | None = None
        if values["use-service-account-credentials"]:
            shared = await stack.enter_async_context(Client(without_identity(config)))

            def account(name: str) -> Verbs:
                return client if name in _AS_ITSELF else Account(shared, client, name)

        async with asyncio.TaskGroup() as tasks:
            health_port = tasks.create_task(_serve(values))
            ready()
            await _lead(values, client, lambda: Loop(client, controllers, account).run())
            health_port.cancel()


async def _serve(values: Values) -> None:
    context = serving.context(values) if values["secure-port"] else None
    address = values["bind-address"], values["secure-port"]
    pages = Pages(NAME, flags().shown(values), health.PATHS)
    await health.serve(*address, {}, context, serving.only_known_clients, pages=pages)


async def _lead(values: Values, client: Verbs, work: Callable[[], Any]) -> None:
    if not values["leader-elect"]:
        metrics.LEADING.labels(NAME).set(1)
        await work()
        return
    election = Election(
        client,
        values["leader-elect-resource-name"],
        f"{socket.gethostname()}_{os.urandom(8).hex()}",
        values["leader-elect-resource-namespace"],
        Timing(
            values["leader-elect-lease-duration"],
            values["leader-elect-renew-deadline"],
            values["leader-elect-retry-period"],
        ),
    )
    metrics.LEADING.labels(values["leader-elect-resource-name"]).set_function(lambda: float(election.leading))
    try:
        await election.run(work)
    except Lost as problem:
        # A new process is the surest way to have stopped everything that the old one was doing.
        raise Fatal(str(problem)) from problem


def main() -> None:
    values = flags().parse(sys.argv[1:])
    logs.setup(values["v"])
    run(lambda: manage(values))
