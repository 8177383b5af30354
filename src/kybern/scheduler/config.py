"""What kube-scheduler is told: upstream's flags and its KubeSchedulerConfiguration file, as one frozen record.

An unknown field, plugin or version is an error that names it, and everything that is wrong with the file is told at once.
What tunes parts that have no counterpart here (parallelism, queries per second) is accepted, and has no effect.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from kybern.client.lease import Timing
from kybern.daemon import config_file
from kybern.daemon.flags import Values, duration
from kybern.daemon.run import Fatal
from kybern.machinery.causes import invalid
from kybern.scheduler import extenders, profiles
from kybern.scheduler.arguments import API_VERSION, Arguments
from kybern.scheduler.extender import Settings
from kybern.scheduler.framework import BadArgs, Plugin
from kybern.scheduler.plugins import PLUGINS
from kybern.scheduler.profile import DEFAULT_NAME, Profile
from kybern.scheduler.queue import DELAYS, Delays
from kybern.scheduler.registry import installed

KIND = "KubeSchedulerConfiguration"
TUNING = ("enableProfiling", "enableContentionProfiling", "delayCacheUntilActive")
GIVEN = {
    "kubeconfig": "kubeconfig", "master": "master",
    "lease_name": "leader-elect-resource-name", "lease_namespace": "leader-elect-resource-namespace",
}  # fmt: skip
ELECTION = {
    "leaseDuration": "lease_duration", "renewDeadline": "renew_deadline", "retryPeriod": "retry_period",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Config:
    kubeconfig: str = ""
    master: str = ""
    leader_elect: bool = True
    lease_name: str = "kube-scheduler"
    lease_namespace: str = "kube-system"
    timing: Timing = field(default_factory=Timing)
    profiles: Mapping[str, Profile] = field(default_factory=lambda: {DEFAULT_NAME: Profile.of(PLUGINS)})
    delays: Delays = DELAYS
    extenders: tuple[Settings, ...] = ()


def read(values: Values) -> Config:
    """The settings of a command line and of the file that it names. Raises Fatal with one line for the operator."""
    found: dict[str, Any] = _file(Path(values["config"])) if values["config"] else {}
    found |= {name: values[flag] for name, flag in GIVEN.items() if values[flag] and values.given(flag)}
    if values.given("leader-elect"):
        found["leader_elect"] = values["leader-elect"]
    longest = values["pod-max-in-unschedulable-pods-duration"]
    found["delays"] = replace(found.get("delays", DELAYS), refused=longest)
    asked = {name: f"leader-elect-{name.replace('_', '-')}" for name in ELECTION.values()}
    timing = {name: values[flag] for name, flag in asked.items() if values.given(flag)}
    found["timing"] = Timing(**(found.pop("election", {}) | timing))
    return Config(**found)


def _file(path: Path) -> dict[str, Any]:
    content = config_file.content(path, API_VERSION, KIND)
    try:
        return settings(content, installed())
    except BadArgs as problem:
        raise Fatal(f"cannot read --config {path}: {problem}") from problem


def settings(content: Mapping[str, Any], known: Mapping[str, Plugin]) -> dict[str, Any]:
    """The fields of a Config that a file tells; ``known`` are the plugins by name. Raises BadArgs with all that is wrong."""
    given = Arguments(content, "", KIND)
    given.accept(*TUNING)
    found = _connection(given.child("clientConnection")) | _election(given.child("leaderElection"))
    if given.integer("parallelism", 16) <= 0:
        told = "should be an integer value greater than zero"
        given.wrong(invalid("parallelism", given.integer("parallelism"), told))
    found["delays"] = _delays(given)
    found["extenders"] = extenders.read(given.children("extenders"))
    ignored = frozenset(name for one in found["extenders"] for name in one.ignored)
    listed = given.children("profiles") or [Arguments({}, "profiles[0]")]
    found["profiles"] = profiles.read(listed, known, profiles.percentage_of(given), ignored)
    given.check()
    return found


def _connection(given: Arguments) -> dict[str, Any]:
    given.accept("acceptContentTypes", "contentType", "qps", "burst")
    kubeconfig = given.text("kubeconfig")
    return {"kubeconfig": kubeconfig} if kubeconfig else {}


def _election(given: Arguments) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if "leaderElect" in given:
        found["leader_elect"] = given.flag("leaderElect")
    for key, name in (("resourceName", "lease_name"), ("resourceNamespace", "lease_namespace")):
        if told := given.text(key):
            found[name] = told
    lock = given.text("resourceLock", "leases")
    if lock != "leases":
        given.wrong(invalid(given.at("resourceLock"), lock, 'resourceLock value must be "leases"'))
    found["election"] = {}
    for key, name in ELECTION.items():
        told = given.text(key)
        try:
            if told:
                found["election"][name] = duration(told)
        except ValueError as problem:
            given.wrong(invalid(given.at(key), told, str(problem)))
    return found


def _delays(given: Arguments) -> Delays:
    first = given.integer("podInitialBackoffSeconds", int(DELAYS.first))
    last = given.integer("podMaxBackoffSeconds", int(DELAYS.last))
    if first <= 0:
        given.wrong(invalid("podInitialBackoffSeconds", first, "must be greater than 0"))
    if last < first:
        told = "must be greater than or equal to PodInitialBackoffSeconds"
        given.wrong(invalid("podMaxBackoffSeconds", last, told))
    return Delays(first, last)
