"""What kube-scheduler is told: upstream's flags and its KubeSchedulerConfiguration file, as one frozen record.

A profile names its scheduler and switches plugins off or on by name; an unknown key, version or plugin is an error that
names it. Keys that tune what has no counterpart here (parallelism, percentageOfNodesToScore: all nodes are one vector) are
accepted and have no effect.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kybern.client.lease import Timing
from kybern.daemon import config_file
from kybern.daemon.flags import Values, duration
from kybern.daemon.run import Fatal
from kybern.scheduler.framework import Plugin
from kybern.scheduler.plugins import PLUGINS
from kybern.scheduler.profile import DEFAULT_NAME, Profile

API_VERSION = "kubescheduler.config.k8s.io/v1"
KEYS = {
    "apiVersion", "kind", "clientConnection", "leaderElection", "profiles", "parallelism", "percentageOfNodesToScore",
    "podInitialBackoffSeconds", "podMaxBackoffSeconds", "enableProfiling", "enableContentionProfiling", "extenders",
    "delayCacheUntilActive",
}  # fmt: skip
ELECTION_KEYS = {"leaderElect": "", "leaseDuration": "lease_duration", "renewDeadline": "renew_deadline",
                 "retryPeriod": "retry_period", "resourceName": "", "resourceNamespace": "", "resourceLock": ""}  # fmt: skip
PROFILE_KEYS = {"schedulerName", "plugins", "pluginConfig", "percentageOfNodesToScore"}
# Of upstream's default profile, and not here yet: naming them is no error, and has no effect.
LATER = {
    "PrioritySort", "VolumeRestrictions", "NodeVolumeLimits", "VolumeBinding", "VolumeZone",
    "DefaultPreemption", "DefaultBinder", "DynamicResources",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Config:
    kubeconfig: str
    leader_elect: bool = True
    lease_name: str = "kube-scheduler"
    lease_namespace: str = "kube-system"
    timing: Timing = field(default_factory=Timing)
    profiles: Mapping[str, Profile] = field(default_factory=lambda: {DEFAULT_NAME: Profile.of(PLUGINS)})


def read(values: Values) -> Config:
    """The settings of a command line and of the file that it names. Raises Fatal with one line for the operator."""
    found: dict[str, Any] = _file(Path(values["config"])) if values["config"] else {}
    if values["kubeconfig"]:
        found["kubeconfig"] = values["kubeconfig"]
    if values.given("leader-elect"):
        found["leader_elect"] = values["leader-elect"]
    asked = {name: f"leader-elect-{name.replace('_', '-')}" for name in ELECTION_KEYS.values() if name}
    timing = {name: values[flag] for name, flag in asked.items() if values.given(flag)}
    found["timing"] = Timing(**(found.pop("election", {}) | timing))
    if not found.get("kubeconfig"):
        raise Fatal(
            "cannot start: no API server is named; give --kubeconfig, or clientConnection.kubeconfig in --config"
        )
    return Config(**found)


def _file(path: Path) -> dict[str, Any]:
    content = config_file.content(path, API_VERSION, "KubeSchedulerConfiguration")
    _known(path, content, KEYS, "")
    found: dict[str, Any] = {}
    if kubeconfig := (content.get("clientConnection") or {}).get("kubeconfig"):
        found["kubeconfig"] = kubeconfig
    election = content.get("leaderElection") or {}
    _known(path, election, ELECTION_KEYS.keys(), "leaderElection.")
    if "leaderElect" in election:
        found["leader_elect"] = bool(election["leaderElect"])
    for key, name in (("resourceName", "lease_name"), ("resourceNamespace", "lease_namespace")):
        if election.get(key):
            found[name] = election[key]
    try:
        found["election"] = {field: duration(str(election[key])) for key, field in ELECTION_KEYS.items()
                             if field and election.get(key)}  # fmt: skip
    except ValueError as problem:
        raise Fatal(f"cannot read --config {path}: leaderElection: {problem}") from problem
    if content.get("profiles"):
        found["profiles"] = dict(
            _profile(path, number, one) for number, one in enumerate(content["profiles"])
        )
    return found


def _known(path: Path, found: Mapping[str, Any], keys: Any, where: str) -> None:
    for key in found:
        if key not in keys:
            raise Fatal(f'cannot read --config {path}: unknown field "{where}{key}"')


def _profile(path: Path, number: int, profile: Mapping[str, Any]) -> tuple[str, Profile]:
    where = f"profiles[{number}]."
    _known(path, profile, PROFILE_KEYS, where)
    by_name = {plugin.name: plugin for plugin in PLUGINS}
    chosen = dict(by_name)
    for point, change in (profile.get("plugins") or {}).items():
        for one in change.get("disabled") or ():
            if one["name"] == "*":
                chosen.clear()
            else:
                _plugin(path, f"{where}plugins.{point}.disabled", one["name"], by_name)
                chosen.pop(one["name"], None)
        for one in change.get("enabled") or ():
            _plugin(path, f"{where}plugins.{point}.enabled", one["name"], by_name)
            if one["name"] in by_name:
                chosen[one["name"]] = by_name[one["name"]]
    ordered = tuple(plugin for plugin in PLUGINS if plugin.name in chosen)
    name = profile.get("schedulerName") or DEFAULT_NAME
    return name, Profile.of(ordered, name)


def _plugin(path: Path, where: str, name: str, known: Mapping[str, Plugin]) -> None:
    if name not in known and name not in LATER:
        raise Fatal(f'cannot read --config {path}: {where}: unknown plugin "{name}"')
