"""What tests on the virtual machine share: small pods, and other settings for its kubelet while a test lasts."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import PurePosixPath
from typing import Any

import yaml

from roles.kubelet import DROP_INS
from tests.cluster.conftest import Lab

NODE = "node-1"


def pod(name: str, script: str, *, container: dict[str, Any] | None = None, **spec: Any) -> dict[str, Any]:
    """A pod of busybox that runs a script once; ``container`` and ``spec`` are laid over it."""
    made = {"name": "c", "image": "busybox:1.36", "command": ["sh", "-c", script], **(container or {})}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name},
        "spec": {
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": 0,
            "containers": [made],
            **spec,
        },
    }


def ended(machine: Lab, namespace: str, name: str) -> str:
    """What a pod said, once it has ended well."""

    def over() -> bool:
        phase = machine.get("pod", name, "-n", namespace)["status"].get("phase")
        return phase in ("Succeeded", "Failed")

    machine.eventually(f"{name} has ended", over, seconds=600)
    assert machine.get("pod", name, "-n", namespace)["status"]["phase"] == "Succeeded", name
    return machine.kubectl("logs", name, "-n", namespace).strip()


def restart_kubelet(machine: Lab, node: str = NODE) -> None:
    """Until it has spoken again."""
    began = datetime.now(UTC)
    machine.ssh(node, "systemctl restart kubelet")

    def spoken() -> bool:
        lease = machine.get("lease", node, "-n", "kube-node-lease")
        return datetime.fromisoformat(lease["spec"]["renewTime"]) > began and node in machine.nodes_ready()

    machine.eventually("the kubelet is back", spoken, seconds=120)


@contextmanager
def kubelet_with(machine: Lab, node: str = NODE, **settings: Any) -> Iterator[None]:
    """A node's kubelet with more settings, as an operator gives them on a machine."""
    file = PurePosixPath(DROP_INS) / "test.conf"
    head = {"apiVersion": "kubelet.config.k8s.io/v1beta1", "kind": "KubeletConfiguration"}
    text = yaml.safe_dump(head | settings)
    machine.ssh(node, f"cat >{file} <<'END'\n{text}END")
    try:
        restart_kubelet(machine, node)
        yield
    finally:
        machine.ssh(node, f"rm -f {file}")
        restart_kubelet(machine, node)
