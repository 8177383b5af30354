"""What operators do after the first deploy: machines leave and come, etcd is set back, certificates are renewed.

Meanwhile the API is asked ten times a second through its address; what fails is counted. Each test ends with all five
machines, as it began.
"""

import http.client
import json
import shutil
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest

from kybern.client.identity import Identity
from kybern.client.kubeconfig import load
from kybern.machines.state import State
from tests.cluster.conftest import TOPOLOGY, Lab
from tests.cluster.kernel_state import LOOK, ours
from tests.cluster.test_cluster import web

EVERY = 0.1
PATIENCE = 5.0
ETCDCTL = (
    "etcdctl --endpoints=https://127.0.0.1:2379 --cacert=/etc/kubernetes/pki/etcd/ca.crt "
    "--cert=/etc/kubernetes/pki/etcd/healthcheck-client.crt --key=/etc/kubernetes/pki/etcd/healthcheck-client.key"
)
MOVES = 2  # of the address: away from the master that leaves or restarts, and back to it


@dataclass
class Asked:
    """Answers of the API while something went on. ``longest`` is the longest time without one, in seconds."""

    answers: int = 0
    failures: list[str] = field(default_factory=list)
    longest: float = 0.0


@contextmanager
def asking(lab: Lab) -> Iterator[Asked]:
    """Asks by a new connection each time, as a new client does."""
    found, over = Asked(), threading.Event()
    config = load(lab.kubeconfig)
    # It follows the file: an authority may be exchanged meanwhile.
    identity = Identity(config, time.monotonic)

    def ask() -> None:
        last = time.monotonic()
        while not over.wait(EVERY):
            context = identity.context()
            assert isinstance(context, ssl.SSLContext)
            failure = _failure(str(lab.cluster.api_address), lab.cluster.api_port, context)
            if failure:
                found.failures.append(failure)
                continue
            found.answers += 1
            found.longest = max(found.longest, time.monotonic() - last)
            last = time.monotonic()

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield found
    finally:
        over.set()
        thread.join(PATIENCE * 2)


def _failure(address: str, port: int, context: ssl.SSLContext) -> str:
    """Why one question was not answered; empty when it was."""
    connection = http.client.HTTPSConnection(address, port, timeout=PATIENCE, context=context)
    try:
        connection.request("GET", "/api/v1/namespaces/default")
        status = connection.getresponse().status
    except (OSError, http.client.HTTPException) as problem:
        return repr(problem)
    finally:
        connection.close()
    return "" if status == 200 else f"status {status}"


def members(lab: Lab, machine: str) -> set[str]:
    listed = json.loads(lab.ssh(machine, f"{ETCDCTL} member list -w json"))["members"]
    return {member["name"] for member in listed if not member.get("isLearner")}


def nothing_to_do(lab: Lab) -> None:
    assert "0 changes on 5 machines" in lab.kybern("deploy", TOPOLOGY).stdout


def test_a_worker_leaves_with_its_pods_elsewhere_and_comes_back(lab: Lab, namespace: str) -> None:
    web(lab, namespace)

    with asking(lab) as asked:
        done = lab.kybern("remove", TOPOLOGY, "worker-2")
        assert f"worker-2 is no part of {lab.cluster.name} any more" in done.stdout
        assert {pod["spec"]["nodeName"] for pod in lab.running(namespace, "app=web")} == {"worker-1"}
        assert "worker-2" not in {node["metadata"]["name"] for node in lab.get("nodes")["items"]}
        left = lab.ssh(
            "worker-2", "ls -d /etc/kubernetes /var/lib/kubelet/pods /opt/kybern 2>/dev/null; true"
        )
        assert left == ""
        assert ours(lab.ssh("worker-2", LOOK)) == []
        lab.kybern("deploy", TOPOLOGY)
    assert asked.failures == []
    assert asked.answers > 50
    assert "worker-2" in lab.nodes_ready()
    nothing_to_do(lab)


def test_a_master_leaves_and_a_new_one_takes_its_place(lab: Lab) -> None:
    with asking(lab) as asked:
        lab.kybern("remove", TOPOLOGY, "master-1")
        assert members(lab, "master-2") == {"master-2", "master-3"}
        assert ours(lab.ssh("master-1", LOOK)) == []
        lab.kybern("deploy", TOPOLOGY)
    assert members(lab, "master-1") == {"master-1", "master-2", "master-3"}
    assert len(lab.nodes_ready()) == 5
    # Its API server serves until another master has the address; a question that is on its way then is cut off.
    assert len(asked.failures) <= MOVES, asked
    nothing_to_do(lab)


def test_all_api_servers_are_restarted_and_no_request_fails(lab: Lab) -> None:
    for master in lab.cluster.masters:
        # As after a new release: what runs is not what is there.
        lab.ssh(master.name, "rm /run/kybern/kube-apiserver.service.sha256")
    with asking(lab) as asked:
        assert "3 changes on 5 machines" in lab.kybern("deploy", TOPOLOGY).stdout
    assert len(asked.failures) <= MOVES, asked
    assert asked.answers > 100


def test_a_dead_master_is_replaced(lab: Lab) -> None:
    lab.kybern("machines", "kill", TOPOLOGY, "master-2")
    try:
        done = lab.kybern("remove", TOPOLOGY, "master-2")
        assert "does not answer" in done.stderr
        assert members(lab, "master-1") == {"master-1", "master-3"}
    finally:
        lab.kybern("machines", "start", TOPOLOGY, "master-2")
        lab.eventually("SSH answers", lambda: lab.ssh("master-2", "true", seconds=5) == "", seconds=60)

    # It is back with the data of when it was a member.
    refused = lab.kybern("deploy", TOPOLOGY, check=False)
    assert refused.returncode == 1
    assert "it has data of when it was one" in refused.stderr
    lab.kybern("remove", TOPOLOGY, "master-2")
    lab.kybern("deploy", TOPOLOGY)

    assert members(lab, "master-2") == {"master-1", "master-2", "master-3"}
    assert len(lab.nodes_ready()) == 5
    nothing_to_do(lab)


def test_volumes_that_only_a_machine_has_keep_it(lab: Lab, namespace: str) -> None:
    claim = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "precious", "namespace": namespace},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "16Mi"}}},
    }
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "writer", "namespace": namespace},
        "spec": {
            "nodeSelector": {"kubernetes.io/hostname": "worker-1"},
            "containers": [
                {
                    "name": "c",
                    "image": "busybox:1.36",
                    "command": ["sleep", "3600"],
                    "volumeMounts": [{"name": "v", "mountPath": "/v"}],
                }
            ],
            "terminationGracePeriodSeconds": 0,
            "volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "precious"}}],
        },
    }
    lab.kubectl("apply", "-f", "-", stdin=json.dumps(claim))
    lab.kubectl("apply", "-f", "-", stdin=json.dumps(pod))
    lab.kubectl("wait", "-n", namespace, "--for=condition=Ready", "pod/writer", "--timeout=60s", seconds=90)

    done = lab.kybern("remove", TOPOLOGY, "worker-1", check=False)

    assert done.returncode == 1
    assert f"{namespace}/precious are on its disk alone" in done.stderr
    assert "worker-1" in lab.nodes_ready()
    assert not lab.get("node", "worker-1")["spec"].get("unschedulable")


def test_the_cluster_goes_back_to_a_snapshot(lab: Lab, namespace: str) -> None:
    web(lab, namespace)
    lab.kubectl("create", "configmap", "before", "-n", namespace)
    kept = lab.get("configmap", "before", "-n", namespace)["metadata"]["uid"]
    assert "SNAPSHOT" in lab.kybern("backup", TOPOLOGY).stdout
    lab.kubectl("delete", "configmap", "before", "-n", namespace)
    lab.kubectl("create", "configmap", "after", "-n", namespace)
    was = {pod["metadata"]["uid"] for pod in lab.running(namespace, "app=web")}

    began = time.monotonic()
    done = lab.kybern("restore", TOPOLOGY, "--yes")
    seconds = time.monotonic() - began

    assert "is what it was at" in done.stdout
    assert lab.get("configmap", "before", "-n", namespace)["metadata"]["uid"] == kept
    assert "NotFound" in lab.kubectl("get", "configmap", "after", "-n", namespace, check=False)
    assert seconds < 120
    # Pods ran on, and what watches has seen where it stands: a deployment follows again.
    lab.kubectl("scale", "deployment", "web", "-n", namespace, "--replicas=5")
    lab.eventually("five pods", lambda: len(lab.running(namespace, "app=web")) == 5)
    assert was <= {pod["metadata"]["uid"] for pod in lab.running(namespace, "app=web")}
    assert len(lab.nodes_ready()) == 5
    nothing_to_do(lab)


def test_all_data_of_all_members_are_lost_and_come_back(lab: Lab, namespace: str) -> None:
    lab.kubectl("create", "configmap", "precious", "-n", namespace)
    lab.kybern("backup", TOPOLOGY)
    for master in lab.cluster.masters:
        lab.ssh(master.name, "systemctl stop etcd; rm -rf /var/lib/etcd/member")

    lab.kybern("restore", TOPOLOGY, "--yes")

    assert lab.kubectl("get", "configmap", "precious", "-n", namespace)
    lab.eventually("all nodes ready", lambda: len(lab.nodes_ready()) == 5)
    nothing_to_do(lab)


def test_two_members_of_three_are_lost_and_the_third_one_s_snapshot_saves_all(
    lab: Lab, namespace: str
) -> None:
    lab.kubectl("create", "configmap", "precious", "-n", namespace)
    for master in ("master-1", "master-2"):
        lab.ssh(master, "systemctl stop etcd; rm -rf /var/lib/etcd/member")

    lab.kybern("backup", TOPOLOGY, "--from", "master-3")
    lab.kybern("restore", TOPOLOGY, "--yes")

    assert lab.kubectl("get", "configmap", "precious", "-n", namespace)
    lab.eventually("all nodes ready", lambda: len(lab.nodes_ready()) == 5)
    nothing_to_do(lab)


def test_certificates_are_renewed_and_nobody_notices(lab: Lab, namespace: str) -> None:
    pki = State.of(lab.cluster.name).directory / "pki"
    path = pki / "machines/master-1/apiserver.crt"
    before = path.read_bytes()

    with asking(lab) as asked:
        done = lab.kybern("certificates", "renew", TOPOLOGY, "--all")
        assert f"certificates of {lab.cluster.name} made anew" in done.stdout
        lab.eventually("the new one is served", lambda: served(lab) == path.read_bytes().strip(), seconds=30)
        web(lab, namespace)
    assert path.read_bytes() != before
    assert asked.failures == []
    listed = json.loads(lab.kybern("certificates", "list", TOPOLOGY, "-o", "json").stdout)
    assert min(one["daysLeft"] for one in listed) >= 364
    nothing_to_do(lab)


def served(lab: Lab) -> bytes:
    master = next(each for each in lab.cluster.masters if each.name == "master-1")
    return ssl.get_server_certificate((str(master.address), lab.cluster.api_port), timeout=5).strip().encode()


@pytest.fixture(autouse=True, scope="module")
def backups_gone(lab: Lab) -> Iterator[None]:
    yield
    shutil.rmtree(State.of(lab.cluster.name).directory / "backups", ignore_errors=True)


def test_what_etcd_does_not_use_is_given_back_and_no_request_fails(lab: Lab) -> None:
    key = f"{ETCDCTL} put /kybern-test/filler >/dev/null"
    lab.ssh(
        "master-1",
        f"for _ in $(seq 40); do head -c 800000 /dev/urandom | base64 -w0 | {key}; done; "
        f"{ETCDCTL} del /kybern-test/filler >/dev/null; "
        f"{ETCDCTL} compact --physical $({ETCDCTL} endpoint status -w json | grep -o '\"revision\":[0-9]*' | cut -d: -f2)",
    )
    before = {each.name: size(lab, each.name) for each in lab.cluster.members}
    assert min(before.values()) > 32 * 2**20

    with asking(lab) as asked:
        done = lab.kybern("defragment", TOPOLOGY)
    assert "3 changes on 3 members" in done.stdout
    assert all(size(lab, name) < used - 24 * 2**20 for name, used in before.items())
    assert asked.failures == []
    assert "0 changes on 3 members" in lab.kybern("defragment", TOPOLOGY).stdout


def size(lab: Lab, machine: str) -> int:
    """Bytes of a member's file."""
    return int(json.loads(lab.ssh(machine, f"{ETCDCTL} endpoint status -w json"))[0]["Status"]["dbSize"])
