"""kubelet and containerd are killed at random while pods come and go; afterwards the nodes hold what is wanted, and no more.

Ten minutes of it, by ``make test-kills``; ``KYBERN_KILL_SECONDS`` makes it less, ``KYBERN_KILL_SEED`` another run.
"""

import json
import os
import random
import subprocess
import time
from typing import Any

import pytest

from tests.cluster.conftest import Lab
from tests.cluster.leftovers import LOOK, Seen, faults, statuses

SECONDS = float(os.environ.get("KYBERN_KILL_SECONDS", "600"))
SEED = int(os.environ.get("KYBERN_KILL_SEED", "1"))
WORKERS = ("worker-1", "worker-2")
pytestmark = pytest.mark.kills

# Each start of the container is a line in a file that outlives it.
POD = {
    "metadata": {"labels": {"app": "churn"}},
    "spec": {
        "terminationGracePeriodSeconds": 1,
        "initContainers": [
            {
                "name": "first",
                "image": "busybox:1.36",
                "command": ["true"],
            }
        ],
        "containers": [
            {
                "name": "c",
                "image": "busybox:1.36",
                "command": ["sh", "-c", "echo started >>/kept/starts; exec sleep $LIFE"],
                "env": [{"name": "LIFE", "value": "3600"}],
                "volumeMounts": [
                    {"name": "kept", "mountPath": "/kept"},
                    {"name": "told", "mountPath": "/told"},
                ],
            }
        ],
        "volumes": [
            {"name": "kept", "emptyDir": {}},
            {"name": "told", "configMap": {"name": "told"}},
        ],
    },
}


def deployment(name: str, life: str) -> dict[str, Any]:
    pod = json.loads(json.dumps(POD))
    pod["metadata"]["labels"] = {"app": name, "churn": "yes"}
    pod["spec"]["containers"][0]["env"][0]["value"] = life
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {"replicas": 2, "selector": {"matchLabels": {"app": name}}, "template": pod},
    }


@pytest.fixture
def churned(lab: Lab, namespace: str) -> str:
    """Deployments that stay, and one whose containers end by themselves every few seconds."""
    lab.kubectl("create", "configmap", "told", "-n", namespace, "--from-literal=a=b")
    for name, life in (("web-0", "3600"), ("web-1", "3600"), ("web-2", "3600"), ("restless", "4")):
        lab.kubectl("apply", "-n", namespace, "-f", "-", stdin=json.dumps(deployment(name, life)))
    return namespace


def churn(lab: Lab, namespace: str, chance: random.Random) -> None:
    """One thing that users do."""
    name = f"web-{chance.randrange(3)}"
    what = chance.choice(("scale", "scale", "delete", "restart", "job"))
    if what == "scale":
        lab.kubectl(
            "scale", "deployment", name, "-n", namespace, f"--replicas={chance.randrange(6)}", check=False
        )
    elif what == "delete":
        lab.kubectl("delete", "pods", "-n", namespace, "-l", f"app={name}", "--wait=false", check=False)
    elif what == "restart":
        lab.kubectl("rollout", "restart", f"deployment/{name}", "-n", namespace, check=False)
    else:
        job = f"job-{chance.randrange(1 << 30)}"
        lab.kubectl(
            "create", "job", job, "-n", namespace, "--image=busybox:1.36", "--", "sleep", "1", check=False
        )


def kill(lab: Lab, chance: random.Random) -> str:
    unit = chance.choice(("kubelet", "kubelet", "containerd"))
    machine = chance.choice(WORKERS)
    lab.ssh(machine, f"systemctl kill --signal=KILL --kill-whom=main {unit}.service", check=False)
    return f"{unit} on {machine}"


def test_kills_under_churn_leave_what_is_wanted_and_no_more(lab: Lab, churned: str) -> None:
    chance, ends, killed = random.Random(SEED), time.monotonic() + SECONDS, []
    while time.monotonic() < ends:
        churn(lab, churned, chance)
        if chance.random() < 0.5:
            killed.append(kill(lab, chance))
        time.sleep(chance.uniform(0.2, 2.0))
    print(f"seed {SEED}: {len(killed)} kills")  # noqa: T201
    assert killed

    lab.kubectl("delete", "jobs", "--all", "-n", churned, "--wait=false")
    for k in range(3):
        lab.kubectl("scale", "deployment", f"web-{k}", "-n", churned, "--replicas=3")
    # Units start again by themselves, later each time; systemd gives up on none.
    lab.eventually("all nodes ready", lambda: len(lab.nodes_ready()) == 5, seconds=120)
    lab.eventually("what is wanted runs", lambda: whole(lab, churned), seconds=180)
    # The restless ones would never stand still to be looked at.
    restless = lab.pods(churned, "app=restless")
    assert all(pod["status"]["containerStatuses"][0]["restartCount"] for pod in restless)
    lab.kubectl("delete", "deployment", "restless", "-n", churned, "--cascade=foreground", seconds=120)

    # The kubelet gives networks back at the second look, two minutes after its last start at the latest.
    lab.eventually("nothing is left over", lambda: left_over(lab) == [], seconds=240)
    assert untrue_counts(lab, churned) == []


def whole(lab: Lab, namespace: str) -> bool:
    pods = lab.pods(namespace, "churn=yes")
    calm = [pod for pod in pods if pod["metadata"]["labels"]["app"] != "restless"]
    ready = sum(len(lab.running(namespace, f"app=web-{k}")) == 3 for k in range(3))
    return ready == 3 and len(calm) == 9


def left_over(lab: Lab) -> list[str]:
    everywhere = lab.get("pods", "-A")["items"]
    found = []
    for machine in WORKERS:
        here = [pod for pod in everywhere if pod["spec"].get("nodeName") == machine]
        seen = Seen.parse(lab.ssh(machine, f"python3 - <<'EOF'\n{LOOK}\nEOF"))
        found += [f"{machine}: {fault}" for fault in faults(seen, here)]
    assert not found, "\n".join(found)
    return found


def untrue_counts(lab: Lab, namespace: str) -> list[str]:
    """Pods whose containers were started another number of times than their status says."""
    found = []
    for pod in lab.pods(namespace, "churn=yes"):
        name = pod["metadata"]["name"]
        try:
            starts = lab.kubectl("exec", name, "-n", namespace, "-c", "c", "--", "wc", "-l", "/kept/starts")
        except subprocess.CalledProcessError as problem:
            found.append(f"{name}: {problem}")
            continue
        told = next(status["restartCount"] for status in statuses(pod) if status["name"] == "c")
        if int(starts.split()[0]) != told + 1:
            found.append(f"{name}: {starts.split()[0]} starts, and {told} restarts in its status")
    return found
