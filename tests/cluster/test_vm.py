"""One real virtual machine that is everything: booted, deployed, Ready. Without KVM it is emulated, which takes minutes.

Its kernel has virtual servers, which those of machines that are containers may lack: so kube-proxy runs by ipvs here.
"""

import json
import socket
import struct
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.cluster.conftest import Lab
from tests.cluster.pods import Place, pod, service
from tests.cluster.virtual_machine import NODE

pytestmark = [pytest.mark.vm, pytest.mark.timeout(3000)]
HTTP, LINES = 30080, 30090
BOTH = {"web-1", "web-2"}


def test_a_virtual_machine_becomes_a_cluster(machine: Lab) -> None:
    machine.eventually("the node is ready", lambda: machine.nodes_ready() == {"node-1"}, seconds=300)

    kernel = machine.ssh("node-1", "uname -r; stat -fc %T /sys/fs/cgroup").split()
    assert kernel[1] == "cgroup2fs", "its own kernel, with cgroups of version 2"


def test_a_pod_runs_in_it_within_its_limits(machine: Lab) -> None:
    limits = {"limits": {"memory": "32Mi", "cpu": "200m"}}
    container = {
        "name": "c", "image": "busybox:1.36", "command": ["sh", "-c", "cat /sys/fs/cgroup/memory.max"], "resources": limits,
    }  # fmt: skip
    pod = {
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "limited"},
        "spec": {"restartPolicy": "Never", "containers": [container]},
    }  # fmt: skip
    machine.eventually(
        "the default service account", lambda: machine.kubectl("get", "sa", "default"), seconds=120
    )
    machine.kubectl("create", "-f", "-", stdin=json.dumps(pod))

    def ended() -> bool:
        return bool(machine.get("pod", "limited")["status"].get("phase") == "Succeeded")

    machine.eventually("the pod has ended", ended, seconds=180)
    assert machine.kubectl("logs", "limited").strip() == str(32 << 20)


@pytest.fixture(scope="module")
def web(machine: Lab) -> Place:
    """Two pods behind a service with node ports: one for requests, one for connections that stay open."""
    place = Place.made(machine, "default")
    ports = (
        {"name": "http", "port": 80, "targetPort": 8080, "nodePort": HTTP},
        {"name": "lines", "port": 90, "targetPort": 9090, "nodePort": LINES},
    )
    place.apply(service("web", *ports, type="NodePort", selector={"app": "web"}))
    serve = ("/tools/serve.py", "8080", "8080", "9090")
    place.apply(*(pod(name, NODE, *serve, labels={"app": "web"}) for name in sorted(BOTH)))
    machine.kubectl("wait", "pod", "-l", "app=web", "--for=condition=Ready", "--timeout=120s", seconds=150)
    machine.eventually("both answer", lambda: from_outside(machine) == BOTH, seconds=60)
    return place


def asked(machine: Lab) -> str:
    """Who answers at the node's port, asked from another machine: this one. Raises OSError."""
    url = f"http://{machine.cluster.members[0].address}:{HTTP}/hostname"
    with urllib.request.urlopen(url, timeout=5) as answer:
        return str(answer.read().decode())


def from_outside(machine: Lab, times: int = 8) -> set[str]:
    """Who answers some requests, and what failed."""
    found = set()
    for _ in range(times):
        try:
            found.add(asked(machine))
        except OSError as problem:
            found.add(str(problem))
    return found


def on_node(machine: Lab, where: str, times: int = 8) -> set[str]:
    """Who answers the node itself."""
    asked = f"for n in $(seq {times}); do curl -sS --max-time 5 http://{where}; echo; done"
    return set(machine.ssh(NODE, asked).split())


def virtual_servers(machine: Lab) -> str:
    return machine.ssh(NODE, "cat /proc/net/ip_vs")


def real_server(machine: Lab, name: str, port: int) -> list[tuple[int, int, int]]:
    """A pod's weights, open and ending connections, in each virtual server that it is in."""
    packed = socket.inet_aton(machine.get("pod", name)["status"]["podIP"]).hex().upper()
    told = (line.split() for line in virtual_servers(machine).splitlines())
    return [
        (int(line[3]), int(line[4]), int(line[5])) for line in told if f"{packed}:{port:04X}" in line[1:2]
    ]


def test_a_service_is_virtual_servers_that_answer_everybody(machine: Lab, web: Place) -> None:
    ip = machine.get("service", "web")["spec"]["clusterIP"]

    assert on_node(machine, f"{ip}:80/hostname") == BOTH
    assert set(web.ask("web-1", "http", f"{ip}:80/hostname", 12)) == BOTH, "itself among them"
    assert set(web.ask("web-2", "udp", f"{ip}:80", "hostname", 1)) != BOTH, "there is no such port of UDP"
    assert machine.ssh(NODE, f"curl -sS --max-time 5 http://{ip}:22", check=False) == "", "the node's own SSH"
    assert f"{ip},tcp:80" in machine.ssh(NODE, "ipset list KUBE-CLUSTER-IP")
    assert f"{ip}/32" in machine.ssh(NODE, "ip address show kube-ipvs0")
    assert "rr" in virtual_servers(machine)


def test_a_policy_counts_for_what_comes_by_a_virtual_server(machine: Lab, web: Place) -> None:
    ip = machine.get("service", "web")["spec"]["clusterIP"]
    spec: dict[str, Any] = {
        "podSelector": {"matchLabels": {"app": "web"}},
        "policyTypes": ["Ingress"],
        "ingress": [],
    }
    web.apply(
        {
            "apiVersion": "networking.k8s.io/v1",
            "kind": "NetworkPolicy",
            "metadata": {"name": "shut"},
            "spec": spec,
        }
    )

    def said() -> str:
        """By the other one: what a pod says to itself is nobody's business."""
        found = set(web.ask("web-1", "http", f"{ip}:80/hostname", 6))
        return " ".join(sorted(one.split()[0] for one in found))

    machine.eventually("others are shut out", lambda: said() == "error web-1", seconds=90)
    assert on_node(machine, f"{ip}:80/hostname") == BOTH, "the node may always ask"

    web.kubectl("delete", "networkpolicy", "shut")
    machine.eventually("and let in again", lambda: said() == "web-1 web-2", seconds=60)


def test_a_client_keeps_its_endpoint_where_the_service_says_so(machine: Lab, web: Place) -> None:
    def sticky(affinity: str) -> None:
        web.kubectl("patch", "service", "web", "-p", json.dumps({"spec": {"sessionAffinity": affinity}}))

    sticky("ClientIP")
    machine.eventually("always the same", lambda: len(from_outside(machine)) == 1, seconds=30)
    assert " persistent " in virtual_servers(machine)
    assert len(from_outside(machine, 12)) == 1

    sticky("None")
    machine.eventually("any of them", lambda: from_outside(machine) == BOTH, seconds=30)


def test_an_endpoint_that_goes_keeps_its_connections_and_gets_no_new_ones(machine: Lab, web: Place) -> None:
    address = str(machine.cluster.members[0].address)
    with socket.create_connection((address, LINES), 10) as line, line.makefile("rw") as talk:

        def said() -> str:
            talk.write("?\n")
            talk.flush()
            return talk.readline().strip()

        first = said()
        (other,) = BOTH - {first}
        web.kubectl("label", "pod", first, "app-")
        machine.eventually("only the other one", lambda: from_outside(machine) == {other}, seconds=30)
        assert said() == first
        assert (0, 1, 0) in real_server(machine, first, 9090), "no new ones, but this one"
        # Ends at once, without the minutes in which an ended connection is remembered.
        line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    machine.eventually("it has gone", lambda: not real_server(machine, first, 9090), seconds=90)

    web.kubectl("label", "pod", first, "app=web")
    machine.eventually("it is back", lambda: from_outside(machine) == BOTH, seconds=30)


@contextmanager
def asked_all_the_time(machine: Lab) -> Iterator[list[str]]:
    """Ask five times a second while the block lasts. Gives what failed."""
    failed, ends = list[str](), threading.Event()

    def ask() -> None:
        while not ends.wait(0.2):
            try:
                asked(machine)
            except OSError as problem:
                failed.append(str(problem))

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        yield failed
    finally:
        ends.set()
        asking.join()


def use(machine: Lab, old: str, new: str) -> None:
    """As another deployment would start it."""
    unit = "/etc/systemd/system/kube-proxy.service"
    change = f"sed -i s/--proxy-mode={old}/--proxy-mode={new}/ {unit}"
    machine.ssh(NODE, f"{change} && systemctl daemon-reload && systemctl restart kube-proxy")


# KUBE-IPTABLES-HINT is the kubelet's, in whichever mode kube-proxy runs.
LEFT = (
    "ip -o link show type dummy; ipset list -name; tail -n +4 /proc/net/ip_vs; "
    "iptables-save | grep KUBE | grep -v KUBE-IPTABLES-HINT; nft list tables | grep kube-proxy"
)


def left(machine: Lab) -> str:
    return machine.ssh(NODE, LEFT, check=False).strip()


def test_another_mode_takes_over_and_gives_back_without_a_failed_request(machine: Lab, web: Place) -> None:
    ip = machine.get("service", "web")["spec"]["clusterIP"]

    with asked_all_the_time(machine) as failed:
        use(machine, "ipvs", "nftables")
        machine.eventually(
            "nothing of ipvs is left",
            lambda: left(machine) == "table ip kube-proxy",
            seconds=90,
        )
        assert on_node(machine, f"{ip}:80/hostname") == BOTH
        assert set(web.ask("web-1", "http", f"{ip}:80/hostname", 12)) == BOTH
        use(machine, "nftables", "ipvs")
        machine.eventually(
            "nothing of nftables is left",
            lambda: "kube-ipvs0" in (now := left(machine)) and "kube-proxy" not in now,
            seconds=90,
        )
        assert on_node(machine, f"{ip}:80/hostname") == BOTH
    assert failed == []
