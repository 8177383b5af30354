"""A machine that is switched off in order, by a real logind: who ends when, what the API says, and the return.

The API server is on the machine, too: what is asked of it here, it answers while the lock delays the end.
"""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.cluster.conftest import Lab
from tests.cluster.virtual_machine import NODE, kubelet_with, pod, restart_kubelet

pytestmark = [pytest.mark.vm, pytest.mark.operations, pytest.mark.timeout(3000)]
NAMESPACE, IMPORTANT, STATIC = "goes-down", "important", "seen-from-a-file"
SEEN = "/var/lib/kybern-test-shutdown"
MANIFEST = f"/etc/kubernetes/manifests/{STATIC}.yaml"
PERIODS = [
    {"priority": 0, "shutdownGracePeriodSeconds": 60},
    {"priority": 1000, "shutdownGracePeriodSeconds": 40},
    {"priority": 2_000_000_000, "shutdownGracePeriodSeconds": 20},
]
MESSAGE = "Pod was terminated in response to imminent node shutdown."
# The first ends slowly enough to be looked at meanwhile.
LOW, HIGH, CRITICAL = ("low", 20), ("high", 4), ("critical", 1)


def told(name: str, seconds: int, **spec: Any) -> dict[str, Any]:
    """A pod that writes on its node's disk when it runs, is asked to end, and has ended some seconds later."""
    script = (
        f"trap 'echo {name} asked >>/seen/log; sleep {seconds}; echo {name} ended >>/seen/log; exit 0' TERM\n"
        f"echo {name} runs >>/seen/log; while :; do sleep 1 & wait $!; done"
    )
    mount = {"volumeMounts": [{"name": "seen", "mountPath": "/seen"}]}
    volumes = [{"name": "seen", "hostPath": {"path": SEEN, "type": "DirectoryOrCreate"}}]
    long = {"restartPolicy": "Always", "terminationGracePeriodSeconds": 30}
    return pod(name, script, container=mount, volumes=volumes, **{**long, **spec})


def on_each_node(script: str) -> dict[str, Any]:
    labels = {"app": "on-each"}
    template = {
        "metadata": {"labels": labels},
        "spec": pod("on-each", script, restartPolicy="Always")["spec"],
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "DaemonSet",
        "metadata": {"name": "on-each"},
        "spec": {"selector": {"matchLabels": labels}, "template": template},
    }


@pytest.fixture
def place(machine: Lab) -> Iterator[str]:
    """A namespace with pods of three priorities, of a DaemonSet, and one from a file."""
    important = {
        "apiVersion": "scheduling.k8s.io/v1",
        "kind": "PriorityClass",
        "metadata": {"name": IMPORTANT},
        "value": 1_000_000,
    }
    machine.kubectl("create", "namespace", NAMESPACE)
    machine.eventually(
        "the default service account", lambda: machine.kubectl("get", "sa", "default", "-n", NAMESPACE)
    )
    static = told(STATIC, 0)
    static["metadata"]["namespace"] = NAMESPACE
    static["spec"] |= {"terminationGracePeriodSeconds": 5}
    machine.ssh(NODE, f"rm -rf {SEEN}; cat >{MANIFEST} <<'END'\n{json.dumps(static)}\nEND")
    machine.apply(
        NAMESPACE,
        important,
        told(*LOW),
        told(*HIGH, priorityClassName=IMPORTANT),
        told(*CRITICAL, priorityClassName="system-node-critical"),
        on_each_node("trap 'exit 0' TERM; while :; do sleep 1 & wait $!; done"),
    )
    everybody = {*(name for name, _seconds in (LOW, HIGH, CRITICAL)), f"{STATIC}-{NODE}"}
    try:
        machine.eventually("all run", lambda: everybody < set(ready(machine)), seconds=180)
        yield NAMESPACE
    finally:
        machine.ssh(NODE, f"rm -rf {MANIFEST} {SEEN}", check=False)
        for what in (("namespace", NAMESPACE), ("priorityclass", IMPORTANT)):
            machine.kubectl("delete", *what, "--timeout=120s", check=False, seconds=150)


def pods(machine: Lab) -> dict[str, dict[str, Any]]:
    return {one["metadata"]["name"]: one for one in machine.get("pods", "-n", NAMESPACE)["items"]}


def ready(machine: Lab) -> dict[str, dict[str, Any]]:
    def well(one: dict[str, Any]) -> bool:
        found = condition(one, "Ready")
        return found is not None and found["status"] == "True"

    return {name: one for name, one in pods(machine).items() if well(one)}


def condition(one: dict[str, Any], kind: str) -> dict[str, Any] | None:
    return next((found for found in one["status"].get("conditions", []) if found["type"] == kind), None)


def seen(machine: Lab) -> list[str]:
    return machine.ssh(NODE, f"cat {SEEN}/log", check=False).splitlines()


def says_so(machine: Lab) -> bool:
    """Whether the node is not ready, and tells why."""
    found = condition(machine.get("node", NODE), "Ready")
    assert found is not None
    return found["status"] == "False" and "node is shutting down" in found["message"]


def locked(machine: Lab) -> bool:
    return "kubelet" in machine.ssh(NODE, "systemd-inhibit --list --no-legend")


def is_off(machine: Lab) -> bool:
    lines = (line.split() for line in machine.kybern("machines", "list").stdout.splitlines())
    (state,) = (line[-1] for line in lines if line[:2] == [machine.cluster.name, NODE])
    return state == "off"


def test_pods_end_in_order_and_all_come_back(machine: Lab, place: str) -> None:
    with kubelet_with(machine, shutdownGracePeriodByPodPriority=PERIODS):
        machine.eventually("the lock is held", lambda: locked(machine))
        before = ready(machine)
        (daemon,) = (name for name in before if name.startswith("on-each-"))
        machine.ssh(NODE, "systemctl poweroff", check=False)

        machine.eventually("the node says so", lambda: says_so(machine), seconds=60)
        found = seen(machine)
        assert "low asked" in found, "its end is on its way, so this is the time before the machine goes"
        assert not {"high asked", "critical asked"} & set(found), "others wait for it"
        machine.eventually("it is off", lambda: is_off(machine), seconds=300)

        began = datetime.now(UTC)
        machine.start(NODE, seconds=600)
        machine.eventually("the lock is held again", lambda: locked(machine))

        asked = [line for line in seen(machine) if not line.endswith("runs") and STATIC not in line]
        assert asked == [
            f"{who} {what}" for who in ("low", "high", "critical") for what in ("asked", "ended")
        ]
        for name in ("low", "high", "critical"):
            ended(machine, name)
        runs_again(machine, daemon, began)
        metrics = machine.kubectl("get", "--raw", f"/api/v1/nodes/{NODE}/proxy/metrics")
        times = [
            float(line.split()[1])
            for line in metrics.splitlines()
            if line.startswith("kubelet_graceful_shutdown_")
        ]
        assert len(times) == 2
        assert all(0 < one < began.timestamp() for one in times), times
    restart_kubelet(machine)


def ended(machine: Lab, name: str) -> None:
    """What the API has of it, which nobody makes again."""
    status = pods(machine)[name]["status"]
    assert (status["phase"], status["reason"], status["message"]) == ("Failed", "Terminated", MESSAGE)
    target = condition({"status": status}, "DisruptionTarget")
    assert target is not None
    assert (target["status"], target["reason"]) == ("True", "TerminationByKubelet")


def runs_again(machine: Lab, daemon: str, began: datetime) -> None:
    """The file's pod, a new one of the DaemonSet, and a pod that comes new."""

    def back() -> bool:
        well = ready(machine)
        static = well[f"{STATIC}-{NODE}"]["status"]
        (run,) = static["containerStatuses"]
        assert datetime.fromisoformat(run["state"]["running"]["startedAt"]) > began.replace(microsecond=0)
        assert "reason" not in static
        return any(name.startswith("on-each-") and name != daemon for name in well)

    machine.eventually("the file's and the DaemonSet's pods run", back, seconds=300)
    assert seen(machine).count(f"{STATIC} runs") == 2
    machine.apply(NAMESPACE, told("fresh", 0))
    machine.eventually("a new one runs", lambda: "fresh" in ready(machine), seconds=90)
