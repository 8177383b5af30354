"""A worker that is switched off in order, by its own logind: who ends when, what the API says, and the return."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.cluster.conftest import Lab
from tests.cluster.virtual_machine import kubelet_with, pod

NODE, IMPORTANT, STATIC = "worker-2", "important", "seen-from-a-file"
SEEN = "/var/lib/kybern-test-shutdown"
MANIFEST = f"/etc/kubernetes/manifests/{STATIC}.yaml"
PERIODS = [
    {"priority": 0, "shutdownGracePeriodSeconds": 40},
    {"priority": 1000, "shutdownGracePeriodSeconds": 30},
    {"priority": 2_000_000_000, "shutdownGracePeriodSeconds": 20},
]
MESSAGE = "Pod was terminated in response to imminent node shutdown."
# The first ends slowly enough to be looked at meanwhile.
LOW, HIGH, CRITICAL = ("low", 20), ("high", 3), ("critical", 1)
WORDS = "trap 'exit 0' TERM; while :; do sleep 1 & wait $!; done"


def told(name: str, seconds: int, **spec: Any) -> dict[str, Any]:
    """A pod that writes on its node's disk when it runs, is asked to end, and has ended some seconds later."""
    script = (
        f"trap 'echo {name} asked >>/seen/log; sleep {seconds}; echo {name} ended >>/seen/log; exit 0' TERM\n"
        f"echo {name} runs >>/seen/log; while :; do sleep 1 & wait $!; done"
    )
    mount = {"volumeMounts": [{"name": "seen", "mountPath": "/seen"}]}
    volumes = [{"name": "seen", "hostPath": {"path": SEEN, "type": "DirectoryOrCreate"}}]
    usual = {"restartPolicy": "Always", "terminationGracePeriodSeconds": 25}
    there = {"nodeSelector": {"kubernetes.io/hostname": NODE}}
    return pod(name, script, container=mount, volumes=volumes, **{**usual, **there, **spec})


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


class Place:
    """A namespace with pods of three priorities, of a DaemonSet, and one from a file."""

    def __init__(self, lab: Lab, namespace: str) -> None:
        self.lab, self.namespace = lab, namespace

    def start(self) -> None:
        important = {
            "apiVersion": "scheduling.k8s.io/v1",
            "kind": "PriorityClass",
            "metadata": {"name": IMPORTANT},
            "value": 1_000_000,
        }
        static = told(STATIC, 0, terminationGracePeriodSeconds=5, nodeSelector={})
        static["metadata"]["namespace"] = self.namespace
        self.lab.ssh(NODE, f"rm -rf {SEEN}; cat >{MANIFEST} <<'END'\n{json.dumps(static)}\nEND")
        self.lab.apply(
            self.namespace,
            important,
            told(*LOW),
            told(*HIGH, priorityClassName=IMPORTANT),
            told(*CRITICAL, priorityClassName="system-node-critical"),
            on_each_node(WORDS),
        )
        everybody = {*(name for name, _seconds in (LOW, HIGH, CRITICAL)), f"{STATIC}-{NODE}", self.daemon()}
        self.lab.eventually("all run", lambda: everybody <= set(self.ready()), seconds=90)

    def clean(self) -> None:
        self.lab.ssh(NODE, f"rm -rf {MANIFEST} {SEEN}", check=False)
        self.lab.kubectl("delete", "priorityclass", IMPORTANT, check=False)

    def pods(self) -> dict[str, dict[str, Any]]:
        found = self.lab.get("pods", "-n", self.namespace)["items"]
        return {one["metadata"]["name"]: one for one in found if one["spec"].get("nodeName") == NODE}

    def ready(self) -> dict[str, dict[str, Any]]:
        return {name: one for name, one in self.pods().items() if status(one, "Ready") == "True"}

    def daemon(self) -> str:
        """The DaemonSet's pod that is not on its way out."""

        def found() -> str | None:
            names = (
                name
                for name, one in self.pods().items()
                if name.startswith("on-each-") and one["status"].get("phase") != "Failed"
            )
            return next(names, None)

        name: str = self.lab.eventually("the DaemonSet has a pod", found)
        return name

    def seen(self) -> list[str]:
        return self.lab.ssh(NODE, f"cat {SEEN}/log", check=False).splitlines()


@pytest.fixture
def place(lab: Lab, namespace: str) -> Iterator[Place]:
    made = Place(lab, namespace)
    try:
        made.start()
        yield made
    finally:
        made.clean()


def condition(one: dict[str, Any], kind: str) -> dict[str, Any]:
    return next((found for found in one["status"].get("conditions", []) if found["type"] == kind), {})


def status(one: dict[str, Any], kind: str) -> str | None:
    return condition(one, kind).get("status")


def says_so(lab: Lab) -> bool:
    """Whether the node is not ready, and tells why."""
    found = condition(lab.get("node", NODE), "Ready")
    return found["status"] == "False" and "node is shutting down" in found["message"]


def locked(lab: Lab) -> bool:
    return "kubelet" in lab.ssh(NODE, "systemd-inhibit --list --no-legend")


def is_off(lab: Lab) -> bool:
    lines = (line.split() for line in lab.kybern("machines", "list").stdout.splitlines())
    (state,) = (line[-1] for line in lines if line[:2] == [lab.cluster.name, NODE])
    return state == "off"


def goes_down(lab: Lab) -> bool:
    """Whether it is off, or on its way there: then it says so, or lets nobody in any more."""
    return lab.ssh(NODE, "systemctl is-system-running", check=False).strip() in ("stopping", "")


@contextmanager
def switched_on_at_last(lab: Lab) -> Iterator[None]:
    """Whatever the block did: other tests want the node."""
    try:
        yield
    finally:
        if goes_down(lab):
            lab.eventually("it is off", lambda: is_off(lab), seconds=120)
            lab.start(NODE)


def test_pods_end_in_order_and_all_come_back(lab: Lab, place: Place) -> None:
    with switched_on_at_last(lab), kubelet_with(lab, NODE, shutdownGracePeriodByPodPriority=PERIODS):
        lab.eventually("the lock is held", lambda: locked(lab))
        daemon = place.daemon()
        lab.ssh(NODE, "systemctl poweroff", check=False)

        lab.eventually("the node says so", lambda: says_so(lab), seconds=30)
        # Its end is on its way, so this is the time before the machine goes.
        found = lab.eventually("low is asked", lambda: "low asked" in (seen := place.seen()) and seen, 30)
        assert not {"high asked", "critical asked"} & set(found), "others wait for it"
        lab.eventually("it is off", lambda: is_off(lab), seconds=120)

        began = datetime.now(UTC)
        lab.start(NODE)
        lab.eventually("the lock is held again", lambda: locked(lab))

        asked = [line for line in place.seen() if not line.endswith("runs") and STATIC not in line]
        assert asked == [
            f"{who} {what}" for who in ("low", "high", "critical") for what in ("asked", "ended")
        ]
        for name in ("low", "high", "critical"):
            ended(place, name)
        runs_again(place, daemon, began)
        metrics = lab.kubectl("get", "--raw", f"/api/v1/nodes/{NODE}/proxy/metrics")
        times = [
            float(line.split()[1])
            for line in metrics.splitlines()
            if line.startswith("kubelet_graceful_shutdown_")
        ]
        assert len(times) == 2
        assert all(0 < one < began.timestamp() for one in times), times
    assert not locked(lab), "nobody asked for an order any more"


def ended(place: Place, name: str) -> None:
    """What the API has of it, which nobody makes again."""
    one = place.pods()[name]
    found = one["status"]
    assert (found["phase"], found["reason"], found["message"]) == ("Failed", "Terminated", MESSAGE)
    target = condition(one, "DisruptionTarget")
    assert (target["status"], target["reason"]) == ("True", "TerminationByKubelet")


def runs_again(place: Place, daemon: str, began: datetime) -> None:
    """The file's pod, a new one of the DaemonSet, and a pod that comes new."""

    def back() -> bool:
        well = place.ready()
        static = well[f"{STATIC}-{NODE}"]["status"] if f"{STATIC}-{NODE}" in well else None
        if static is None:
            return False
        (run,) = static["containerStatuses"]
        assert datetime.fromisoformat(run["state"]["running"]["startedAt"]) > began.replace(microsecond=0)
        assert "reason" not in static
        return any(name.startswith("on-each-") and name != daemon for name in well)

    place.lab.eventually("the file's and the DaemonSet's pods run", back, seconds=90)
    assert place.seen().count(f"{STATIC} runs") == 2
    place.lab.apply(place.namespace, told("fresh", 0))
    place.lab.eventually("a new one runs", lambda: "fresh" in place.ready(), seconds=60)
