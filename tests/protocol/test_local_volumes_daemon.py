"""The driver as the process that runs on nodes, beside a scheduler that chooses between a full node and an empty one."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.protocol.apiserver_bed import Lab, Server
from tests.protocol.controllers_bed import CORE, Cluster, manage
from tests.protocol.local_volumes_bed import claim, driver, prepare, schedule
from tests.protocol.test_local_volumes import until as eventually

pytestmark = [
    pytest.mark.etcd,
    pytest.mark.timeout(180),
    pytest.mark.skipif(os.geteuid() != 0, reason="the driver is root"),
]

STORAGE = "/apis/storage.k8s.io/v1"


@pytest.fixture(scope="module")
def cluster(lab: Lab, free_ports: Callable[[], int]) -> Cluster:
    server = lab.start(free_ports(), "--endpoint-reconciler-type=none")
    manage(lab, server, free_ports(), "--controllers=*,-node-lifecycle-controller")
    found = Cluster(lab, server, "local")
    sizes = {"cpu": "4", "memory": "8Gi", "pods": "110"}
    ready = [{"type": "Ready", "status": "True"}]
    status = {"capacity": sizes, "allocatable": sizes, "conditions": ready}
    for name in ("n1", "n2"):
        labels = {"local.kybern.io/node": name}
        found.make(f"{CORE}/nodes", {"metadata": {"name": name, "labels": labels}})
        found.change(f"{CORE}/nodes/{name}", lambda node: node.update(status=status), "/status")
        found.change(f"{CORE}/nodes/{name}", lambda node: node["spec"].pop("taints", None))
        known = {"name": "local.kybern.io", "nodeID": name, "topologyKeys": ["local.kybern.io/node"]}
        found.make(f"{STORAGE}/csinodes", {"metadata": {"name": name}, "spec": {"drivers": [known]}})
    prepare(lab, server, "n1", "n2")
    schedule(lab, server, free_ports())
    return found


def use(cluster: Cluster, name: str, size: str, **more: Any) -> None:
    """A claim, and a pod that uses it."""
    cluster.make(cluster.path(CORE, "persistentvolumeclaims"), claim(name, size))
    container = {"name": "c", "image": "example.test/none"}
    volume = {"name": "v", "persistentVolumeClaim": {"claimName": name}}
    spec = {"containers": [container], "volumes": [volume], "terminationGracePeriodSeconds": 0, **more}
    cluster.make(cluster.path(CORE, "pods"), {"metadata": {"name": name}, "spec": spec})


def end(cluster: Cluster, name: str) -> None:
    for path in (cluster.path(CORE, "pods", name), cluster.path(CORE, "persistentvolumeclaims", name)):
        cluster.ask("DELETE", path)


def placed(found: dict[str, Any]) -> bool:
    return bool(found and found["spec"].get("nodeName"))


async def test_the_scheduler_leaves_a_full_node_out(lab: Lab, cluster: Cluster, tmp_path: Path) -> None:
    server: Server = cluster.server
    capacities = f"{STORAGE}/namespaces/kube-system/csistoragecapacities"
    async with (
        driver(lab, server, "n1", tmp_path / "1") as one,
        driver(lab, server, "n2", tmp_path / "2") as two,
    ):
        one.store.space = 64 << 20
        one.provisioner.capacity.changed.set()
        await eventually(
            "what they have",
            lambda: [
                cluster.get(f"{capacities}/local.kybern.io.{node}.local").get("capacity") for node in ("n1", "n2")
            ]
            == ["64Mi", "1Gi"],
        )  # fmt: skip
        for number in range(3):
            use(cluster, f"part-{number}", "128Mi")
        nodes = []
        for number in range(3):
            path = cluster.path(CORE, "pods", f"part-{number}")
            found = await asyncio.to_thread(cluster.until, path, placed)
            nodes.append(found["spec"]["nodeName"])
        made = one.directories(), two.directories()
        refused = [each for each in cluster.events("part-0") if each[1] == "ProvisioningFailed"]
        for number in range(3):
            end(cluster, f"part-{number}")
        await eventually("taken back", lambda: not two.directories())

    assert nodes == ["n2"] * 3
    assert (len(made[0]), len(made[1])) == (0, 3)
    assert refused == []


@contextmanager
def process(lab: Lab, server: Server, at: Path) -> Iterator["subprocess.Popen[bytes]"]:
    command = [
        sys.executable, "-c", "from kybern.cli.local_volumes import main; main()",
        f"--kubeconfig={lab.kubeconfig(server, 'driver-n1')}", "--hostname-override=n1",
        f"--root-dir={at}/volumes", f"--kubelet-root-dir={at}/kubelet",
    ]  # fmt: skip
    with (at / "driver.log").open("ab") as log:
        found = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        yield found
    finally:
        found.kill()
        found.wait(10)


def test_the_daemon_serves_claims_and_goes_on_after_it_was_killed(
    lab: Lab, cluster: Cluster, tmp_path: Path
) -> None:
    socket = tmp_path / "kubelet/plugins_registry/local.kybern.io-reg.sock"
    with process(lab, cluster.server, tmp_path) as first:
        use(cluster, "served", "32Mi", nodeSelector={"local.kybern.io/node": "n1"})
        path = cluster.path(CORE, "persistentvolumeclaims", "served")
        bound = cluster.until(path, lambda found: (found.get("status") or {}).get("phase") == "Bound")
        assert socket.is_socket()
        first.kill()
        first.wait(10)
    name = bound["spec"]["volumeName"]
    end(cluster, "served")
    assert (tmp_path / "volumes" / name / "data").is_dir()

    with process(lab, cluster.server, tmp_path) as second:
        cluster.until(f"{CORE}/persistentvolumes/{name}", lambda found: not found)
        assert not (tmp_path / "volumes" / name).exists()
        second.send_signal(signal.SIGTERM)
        assert second.wait(20) == 0
    assert not socket.exists()
    assert "Traceback" not in (tmp_path / "driver.log").read_text()


def test_a_daemon_that_may_not_ask_says_why(tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-c",
        "from kybern.cli.local_volumes import main; main()",
        f"--root-dir={tmp_path}",
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)

    assert done.returncode == 1
    assert "no API server is named; give --kubeconfig" in done.stderr
