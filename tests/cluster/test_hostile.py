"""Pods that mean harm, side by side on one node: what each does stays within it, and the node and its neighbours go on.

The node's kubelet gets limits that are soon reached, as an operator would give them, and loses them at the end. What each
pod ends up as is shown beside a real containerd in ``tests/protocol/test_kubelet_hostile.py``; here it is what kubectl shows
of them all.
"""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.cluster.conftest import Lab

NODE = "worker-1"
SPACE = "hostile"
CONFIG = "/etc/kubernetes/kubelet.conf.d/50-hostile.conf"
LIMITS = """apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
podPidsLimit: 64
containerLogMaxSize: 2Mi
containerLogMaxFiles: 3
containerLogMonitorInterval: 3s
"""
MIB = 1024 * 1024
FILLED = f"head -c {10 * MIB} /dev/zero | tr '\\0' x"
SHARED = [{"name": "v", "mountPath": "/v"}]
REST = "exec sleep 3600"


def pod(name: str, script: str, *, container: Any = None, **spec: Any) -> dict[str, Any]:
    made = {
        "name": "c",
        "image": "busybox:1.36",
        "command": ["sh", "-c", script],
        "resources": {
            "limits": {"cpu": "100m", "memory": "32Mi"},
            "requests": {"cpu": "10m", "memory": "8Mi"},
        },
        **(container or {}),
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name},
        "spec": {"nodeName": NODE, "terminationGracePeriodSeconds": 0, "containers": [made], **spec},
    }


PODS = (
    # Whoever forks has no room for a child at some time; the first process needs none.
    pod("forks", f"sh -c 'while :; do sleep 1000 & done' & {REST}"),
    pod("takes-memory", "x=x; while :; do x=$x$x; done", restartPolicy="Never"),
    pod("talks", "while :; do head -c 300000 /dev/zero | tr '\\0' 'y' | fold -w 99; sleep 0.1; done"),
    pod("long-line", f"head -c {MIB} /dev/zero | tr '\\0' x; echo; echo short; {REST}"),
    pod("last-words", f"{FILLED} > /dev/termination-log; exit 3", restartPolicy="Never"),
    pod(
        "leads-out",
        REST,
        container={"volumeMounts": [{"name": "v", "mountPath": "/host", "subPath": "link"}]},
        initContainers=[
            {"name": "i", "image": "busybox:1.36", "command": ["ln", "-s", "/etc", "/v/link"], "volumeMounts": SHARED}
        ],
        volumes=[{"name": "v", "emptyDir": {}}],
    ),
    pod(
        "wrong-type",
        REST,
        container={"volumeMounts": SHARED},
        volumes=[{"name": "v", "hostPath": {"path": "/etc/passwd", "type": "Directory"}}],
    ),
)  # fmt: skip
CALM = pod(
    "calm",
    "mkdir /www; echo served >/www/index.html; exec httpd -f -p 8080 -h /www",
    container={"readinessProbe": {"httpGet": {"path": "/", "port": 8080}, "periodSeconds": 1}},
)


def ready(lab: Lab) -> tuple[str, str]:
    """Whether the node is, and since when."""
    conditions = {one["type"]: one for one in lab.get("node", NODE)["status"]["conditions"]}
    return conditions["Ready"]["status"], conditions["Ready"]["lastTransitionTime"]


def served(lab: Lab) -> str:
    return lab.kubectl("get", "--raw", f"/api/v1/namespaces/{SPACE}/pods/calm:8080/proxy/").strip()


def restart(lab: Lab, change: str) -> None:
    """The kubelet, on a changed configuration."""
    lab.ssh(NODE, f"set -e; {change}\nsystemctl restart kubelet")
    lab.eventually(
        "the kubelet is back", lambda: lab.ssh(NODE, "curl -fsS http://127.0.0.1:10248/healthz"), 30
    )


@pytest.fixture(scope="module")
def since(lab: Lab) -> Iterator[str]:
    """All of them run; since when the node was ready before they came."""
    lab.kubectl("create", "namespace", SPACE)
    try:
        restart(lab, f"cat >{CONFIG} <<'END'\n{LIMITS}END\n")
        lab.eventually("the service account", lambda: lab.kubectl("get", "sa", "default", "-n", SPACE))
        lab.kubectl("apply", "-n", SPACE, "-f", "-", stdin=json.dumps(CALM))
        lab.kubectl("wait", "pod/calm", "-n", SPACE, "--for=condition=Ready", "--timeout=30s", seconds=40)
        state, since = ready(lab)
        assert state == "True"
        harm = {"apiVersion": "v1", "kind": "List", "items": PODS}
        lab.kubectl("apply", "-n", SPACE, "-f", "-", stdin=json.dumps(harm))
        yield since
    finally:
        lab.kubectl("delete", "namespace", SPACE, "--timeout=60s", check=False, seconds=90)
        restart(lab, f"rm -f {CONFIG}")


@pytest.fixture(autouse=True)
def neighbours(lab: Lab, since: str) -> Iterator[None]:
    """Whatever the pod of a test does: the node was ready all the time, and the calm pod serves."""
    yield
    assert ready(lab) == ("True", since)
    assert served(lab) == "served"
    (calm,) = lab.get("pod", "calm", "-n", SPACE)["status"]["containerStatuses"]
    assert calm["restartCount"] == 0


def state_of(lab: Lab, name: str, kind: str) -> Any:
    """Once its container is waiting, running or terminated."""

    def look() -> Any:
        (status,) = lab.get("pod", name, "-n", SPACE)["status"]["containerStatuses"]
        return status["state"].get(kind)

    return lab.eventually(f"{name} is {kind}", look)


def test_a_fork_bomb_stays_below_the_pods_limit(lab: Lab) -> None:
    state_of(lab, "forks", "running")
    uid = lab.get("pod", "forks", "-n", SPACE)["metadata"]["uid"].replace("-", "[-_]")
    look = f"find /sys/fs/cgroup -path '*{uid}*' -name pids.current -exec cat {{}} +"

    def most() -> int:
        return max(map(int, lab.ssh(NODE, look).split()))

    lab.eventually("it has what it may have", lambda: most() > 50)
    assert most() <= 64


def test_who_takes_all_memory_is_killed(lab: Lab) -> None:
    ended = state_of(lab, "takes-memory", "terminated")

    assert (ended["reason"], ended["exitCode"]) == ("OOMKilled", 137)


def test_a_log_that_never_ends_keeps_to_its_files(lab: Lab) -> None:
    state_of(lab, "talks", "running")
    files = f"find /var/log/pods/{SPACE}_talks_*/c -type f -printf '%f %s\\n'"

    def aside() -> list[str]:
        lines = lab.ssh(NODE, files).splitlines()
        assert len(lines) <= 3, lines
        # A moment's worth beyond its limit: the kubelet looks every three seconds.
        assert all(int(line.split()[1]) < 40 * MIB for line in lines), lines
        return [line.split()[0] for line in lines if not line.startswith("0.log ")]

    first = lab.eventually("two files are set aside", lambda: (found := aside())[1:] and found)
    lab.eventually("they are others", lambda: not {*aside()} & {*first})

    assert lab.kubectl("logs", "talks", "-n", SPACE, "--tail=1").strip() == "y" * 99


def test_a_line_of_a_mebibyte_is_one_line(lab: Lab) -> None:
    state_of(lab, "long-line", "running")

    def lengths() -> list[int]:
        return [len(line) for line in lab.kubectl("logs", "long-line", "-n", SPACE).splitlines()]

    lab.eventually("both lines are there", lambda: lengths() == [MIB, 5])


def test_last_words_are_cut(lab: Lab) -> None:
    ended = state_of(lab, "last-words", "terminated")

    assert (ended["exitCode"], ended["message"]) == (3, "x" * 4096)


def test_a_link_leads_nowhere(lab: Lab) -> None:
    waiting = state_of(lab, "leads-out", "waiting")

    def refused() -> bool:
        found = state_of(lab, "leads-out", "waiting")
        return bool(found["reason"] == "CreateContainerConfigError")

    assert waiting
    lab.eventually("it is refused", refused)
    assert "not within volume path" in state_of(lab, "leads-out", "waiting")["message"]


def test_a_path_of_the_wrong_type_is_not_mounted(lab: Lab) -> None:
    def told() -> bool:
        return "hostPath type check failed: /etc/passwd is not a directory" in lab.kubectl(
            "events", "--for=pod/wrong-type", "-n", SPACE
        )

    lab.eventually("it is told", told)
    assert state_of(lab, "wrong-type", "waiting")["reason"] == "ContainerCreating"
