"""The pods of a node whose API server is away for long, and what is known of them without one."""

import base64
import json
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kybern.kubelet.cri import Runtime
from tests.protocol.containerd_bed import NODE, Bed
from tests.protocol.kubelet_process import KubeletProcess

MINUTES = float(os.environ.get("KYBERN_AWAY_MINUTES", "60"))
AWAY = 60 * MINUTES
STARTED = "echo started >>/kept/starts; "
KEPT = {"name": "kept", "emptyDir": {}}
# The shortest life that a token may have.
TOKEN = {
    "name": "token",
    "projected": {"sources": [{"serviceAccountToken": {"path": "token", "expirationSeconds": 600}}]},
}
MOUNTS = [{"name": "kept", "mountPath": "/kept"}, {"name": "token", "mountPath": "/token"}]
STATIC = """
apiVersion: v1
kind: Pod
metadata: {name: meanwhile}
spec:
  terminationGracePeriodSeconds: 1
  containers: [{name: c, image: "busybox:1.36", command: [sh, -c, "trap 'exit 0' TERM; sleep 1000000 & wait"]}]
"""


def spec(script: str, restart: str = "Always", **more: Any) -> dict[str, Any]:
    container = {"name": "c", "image": "busybox:1.36", "command": ["sh", "-c", STARTED + script]}
    return {
        "nodeName": NODE, "restartPolicy": restart, "terminationGracePeriodSeconds": 1,
        "volumes": [KEPT, TOKEN], "containers": [container | {"volumeMounts": MOUNTS} | more],
    }  # fmt: skip


def calm() -> dict[str, Any]:
    """Pods that are asked all the time whether they are well."""
    page = {"httpGet": {"path": "/", "port": 8080}, "periodSeconds": 5}
    serve = "mkdir /www; hostname >/www/index.html; exec httpd -f -p 8080 -h /www"
    labels = {"app": "calm"}
    template = {
        "metadata": {"labels": labels},
        "spec": spec(serve, readinessProbe=page, livenessProbe=page),
    }
    wanted = {"replicas": 3, "selector": {"matchLabels": labels}, "template": template}
    return {"metadata": {"name": "calm"}, "spec": wanted}


def work() -> dict[str, Any]:
    """A job whose pods are made one after another."""
    template = {"spec": spec("sleep 15", "OnFailure")}
    return {"metadata": {"name": "work"}, "spec": {"completions": 3, "parallelism": 1, "template": template}}


SICK = {
    "exec": {"command": ["sh", "-c", "test ! -e /tmp/sick"]},
    "periodSeconds": 5,
    "failureThreshold": 2,
}
SINGLE = {
    "crashes": spec("sleep 8; exit 1"),
    "sickens": spec("rm -f /tmp/sick; sleep 60; touch /tmp/sick; sleep 10000", livenessProbe=SICK),
    "ends": spec(f"sleep {AWAY / 4:.0f}; echo the end; exit 3", "Never"),
    "writes": spec("i=0; while :; do echo $i; i=$((i+1)); sleep 1; done"),
}
RESTART = ("crashes", "sickens")


@dataclass
class Node:
    """What is known of the node without an API server."""

    bed: Bed
    runtime: Runtime
    kubelet: KubeletProcess

    async def running(self) -> dict[str, list[str]]:
        """The running containers' ids, by their pod and name; each pod has one sandbox at most that is ready."""
        found: dict[str, list[str]] = {}
        for uid, (_mark, _namespace, name) in (await self.runtime.all()).items():
            actual = await self.runtime.actual(uid)
            assert sum(sandbox.ready for sandbox in actual.sandboxes) <= 1, f"{name} is there twice"
            for one in actual.instances:
                if one.running:
                    found.setdefault(f"{name}/{one.name}", []).append(one.id)
        return found

    def volume(self, pod: Any, kind: str, name: str) -> Path:
        return self.bed.at / f"kubelet/pods/{pod['metadata']['uid']}/volumes/kubernetes.io~{kind}/{name}"

    def starts(self, pod: Any) -> int:
        return len((self.volume(pod, "empty-dir", "kept") / "starts").read_text().split())

    def token_lasts(self, pod: Any) -> float:
        """Seconds until the token in the pod's volume expires."""
        body = (self.volume(pod, "projected", "token") / "token").read_text().split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
        return float(claims["exp"]) - time.time()

    def log(self, pod: Any) -> list[str]:
        meta = pod["metadata"]
        at = self.bed.at / "logs" / f"{meta['namespace']}_{meta['name']}_{meta['uid']}" / "c/0.log"
        return [line.split(" ", 3)[3] for line in at.read_text().splitlines()]
