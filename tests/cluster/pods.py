"""Pods that serve and ask, on nodes of the test's choice.

The lab's machines have no image but busybox's, which has no tool for half of what is to be asked. These pods run the
programs of ``tools/`` with their node's own Python, which they see below /usr and may not write.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.cluster.conftest import Lab

TOOLS = Path(__file__).parent / "tools"
# Where a pod sees its node's directories. Debian's /lib is a link to /usr/lib.
_SEEN = {"/usr": "/usr", "/lib": "/usr/lib", "/lib64": "/usr/lib64"}


def pod(name: str, node: str, *command: str, **more: Any) -> dict[str, Any]:
    """A pod with the tools; ``more`` goes into its spec, and ``labels``, ``ports`` where they belong."""
    labels, ports = more.pop("labels", {}), more.pop("ports", [])
    mounts = [{"name": f"seen-{at}", "mountPath": here, "readOnly": True} for at, here in enumerate(_SEEN)]
    volumes = [
        {"name": f"seen-{at}", "hostPath": {"path": there, "type": "Directory"}}
        for at, there in enumerate(_SEEN.values())
    ]
    container: dict[str, Any] = {
        "name": "c",
        "image": "busybox:1.36",
        "command": ["python3", *command] if command else ["sleep", "3600"],
        "ports": ports,
        "volumeMounts": [*mounts, {"name": "tools", "mountPath": "/tools"}],
    }
    if command:
        at = int(command[1].split(",")[0])
        container["readinessProbe"] = {"httpGet": {"path": "/hostname", "port": at}, "periodSeconds": 1}
    spec = {
        "nodeName": node,
        "terminationGracePeriodSeconds": 0,
        "containers": [container],
        "volumes": [*volumes, {"name": "tools", "configMap": {"name": "tools"}}],
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": labels},
        "spec": {**spec, **more},
    }


def server(name: str, node: str, at: str = "8080", **more: Any) -> dict[str, Any]:
    """A pod that answers with its name, by HTTP at the ports ``at`` and by UDP at the first of them."""
    return pod(name, node, "/tools/serve.py", at, at.split(",", maxsplit=1)[0], **more)


def service(name: str, *ports: dict[str, Any], **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name},
        "spec": {**spec, "ports": ports},
    }


@dataclass(frozen=True, slots=True)
class Place:
    """A namespace with the tools in it."""

    lab: Lab
    namespace: str

    @classmethod
    def made(cls, lab: Lab, namespace: str) -> "Place":
        files = [f"--from-file={path}" for path in sorted(TOOLS.glob("*.py"))]
        lab.kubectl("create", "configmap", "tools", "-n", namespace, *files)
        return cls(lab, namespace)

    def kubectl(self, *words: str, **more: Any) -> str:
        return self.lab.kubectl("-n", self.namespace, *words, **more)

    def apply(self, *objects: dict[str, Any]) -> None:
        text = json.dumps({"apiVersion": "v1", "kind": "List", "items": objects})
        self.kubectl("apply", "-f", "-", stdin=text)

    def run(self, *pods: dict[str, Any]) -> None:
        """Until they are all ready."""
        self.apply(*pods)
        names = [f"pod/{one['metadata']['name']}" for one in pods]
        self.kubectl("wait", *names, "--for=condition=Ready", "--timeout=60s", seconds=90)

    def get(self, *words: str) -> Any:
        return self.lab.get(*words, "-n", self.namespace)

    def ask(self, name: str, *words: object) -> list[str]:
        """What ``tools/ask.py`` prints in a pod, line by line."""
        said = self.kubectl("exec", name, "--", "python3", "/tools/ask.py", *map(str, words))
        return said.splitlines()

    def answers(self, name: str, wanted: set[str], *words: object, seconds: float = 30) -> None:
        """Until a pod is answered so: just that set of lines."""
        self.lab.eventually(
            f"{name} is answered {wanted} for {words}",
            lambda: (found := set(self.ask(name, *words))) == wanted or _differs(found),
            seconds=seconds,
        )


def _differs(found: set[str]) -> bool:
    raise AssertionError(f"answered {sorted(found)}")
