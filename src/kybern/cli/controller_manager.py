"""kube-controller-manager: every control loop of the cluster, in the one process that leads."""

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from kybern.cli.controller_flags import ACTS, WORKERS, flags
from kybern.cli.managing import Manager, networks
from kybern.controllers import CONTROLLERS
from kybern.daemon import logs
from kybern.daemon.flags import Values
from kybern.daemon.run import Fatal, run
from kybern.daemon.shared_flags import enabled
from kybern.loop.choice import is_enabled, unknown
from kybern.loop.controller import Controller
from kybern.loop.settings import Settings

# Who fills in the tokens of accounts cannot wait for a token of its own; upstream gives it no account either.
_AS_ITSELF = frozenset({"tokens-controller"})


def _content(path: str) -> str:
    try:
        return Path(path).read_text() if path else ""
    except OSError as problem:
        raise Fatal(f"cannot read {path}: {problem.strerror}") from problem


def settings(values: Values) -> Settings:
    """What the flags tell the controllers."""
    mask = values["node-cidr-mask-size"]
    return Settings(
        cluster_cidrs=networks(values, "cluster-cidr"),
        service_cidrs=networks(values, "service-cluster-ip-range"),
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
        "garbage-collector-controller": not values["enable-garbage-collector"],
        "node-ipam-controller": not told.allocate_node_cidrs,
        "kube-apiserver-serving-clustertrustbundle-publisher-controller": not told.root_ca,
        "root-ca-certificate-publisher-controller": not told.root_ca,
        "serviceaccount-token-controller": not told.token_key,
        "certificatesigningrequest-signing-controller": not (told.signing_cert and told.signing_key),
    }
    if told.allocate_node_cidrs and not told.cluster_cidrs:
        raise Fatal("--allocate-node-cidrs needs --cluster-cidr")
    gates = enabled(values["feature-gates"], ACTS)
    workers = {name: values[flag] for flag, _, name in WORKERS}
    return tuple(
        replace(one, workers=workers.get(one.name, one.workers))
        for one in made
        if is_enabled(one.name, values["controllers"], gates) and not lacking.get(one.name)
    )


def main() -> None:
    values = flags().parse(sys.argv[1:])
    logs.setup(values["v"], values["logging-format"])
    run(lambda: Manager(flags(), _AS_ITSELF).manage(values, chosen(values, settings(values))))
