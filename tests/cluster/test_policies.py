"""Network policies on real nodes: who comes through by label, namespace, port and address, within a node and between two."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.cluster.conftest import Lab

SERVE = "httpd -p 8081 -h /etc; exec httpd -f -p 8080 -h /etc"
READY = {"httpGet": {"path": "/hostname", "port": 8080}, "periodSeconds": 1}


@pytest.fixture
def guests(lab: Lab, namespace: str) -> Iterator[str]:
    """Another namespace, with a label of its own."""
    name = f"{namespace[:30]}-guests"
    lab.kubectl("create", "namespace", name)
    lab.kubectl("label", "namespace", name, "team=guests")
    lab.eventually("the default service account", lambda: lab.kubectl("get", "sa", "default", "-n", name))
    yield name
    lab.kubectl("delete", "namespace", name, "--wait=true", "--timeout=60s", check=False, seconds=90)


def pod(name: str, node: str) -> dict[str, Any]:
    container = {
        "name": "c",
        "image": "busybox:1.36",
        "command": ["sh", "-c", SERVE],
        "readinessProbe": READY,
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": {"app": name}},
        "spec": {
            "nodeSelector": {"kubernetes.io/hostname": node},
            "terminationGracePeriodSeconds": 1,
            "containers": [container],
        },
    }


def start(lab: Lab, namespace: str, **nodes: str) -> dict[str, str]:
    """Pods by name on the given nodes; gives their addresses."""
    for name, node in nodes.items():
        lab.kubectl("apply", "-n", namespace, "-f", "-", stdin=json.dumps(pod(name, node)))
    lab.kubectl("wait", "pod", *nodes, "-n", namespace, "--for=condition=Ready", "--timeout=60s", seconds=90)
    return {name: lab.get("pod", name, "-n", namespace)["status"]["podIP"] for name in nodes}


def put(lab: Lab, namespace: str, name: str, **spec: Any) -> None:
    policy = {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": name},
        "spec": {"podSelector": {}, **spec},
    }
    lab.kubectl("apply", "-n", namespace, "-f", "-", stdin=json.dumps(policy))


def reaches(lab: Lab, namespace: str, name: str, address: str, port: int = 8080) -> bool:
    ask = f"wget -q -T 2 -O /dev/null http://{address}:{port}/hostname && echo open || echo shut"
    return lab.kubectl("exec", name, "-n", namespace, "--", "sh", "-c", ask).strip() == "open"


def test_who_may_enter_is_said_by_label_namespace_port_and_address(
    lab: Lab, namespace: str, guests: str
) -> None:
    ips = start(lab, namespace, server="worker-1", near="worker-1", away="worker-2")
    ips |= start(lab, guests, guest="worker-2")
    server = ips["server"]

    def found(port: int = 8080) -> set[str]:
        places = {"near": namespace, "away": namespace, "guest": guests}
        return {name for name, place in places.items() if reaches(lab, place, name, server, port)}

    assert found() == {"near", "away", "guest"}

    put(lab, namespace, "deny", policyTypes=["Ingress"])
    lab.eventually("nobody comes in", lambda: found() == set())
    ready = lab.get("pod", "server", "-n", namespace)["status"]["conditions"]
    assert {"Ready": "True"}.items() <= {one["type"]: one["status"] for one in ready}.items(), (
        "probes come in"
    )

    chosen = {"matchLabels": {"app": "server"}}
    near = {"podSelector": {"matchLabels": {"app": "near"}}}
    put(lab, namespace, "some", podSelector=chosen, ingress=[{"from": [near], "ports": [{"port": 8080}]}])
    lab.eventually("by label, on the same node", lambda: found() == {"near"})
    assert found(8081) == set(), "another port"

    team = {"namespaceSelector": {"matchLabels": {"team": "guests"}}}
    put(lab, namespace, "some", podSelector=chosen, ingress=[{"from": [team]}])
    lab.eventually("by namespace, from another node", lambda: found() == {"guest"})
    lab.kubectl("label", "namespace", guests, "team=others", "--overwrite")
    lab.eventually("the namespace has another label", lambda: found() == set())

    block = {"ipBlock": {"cidr": "0.0.0.0/0", "except": [f"{ips['near']}/32"]}}
    put(lab, namespace, "some", podSelector=chosen, ingress=[{"from": [block]}])
    lab.eventually("by address", lambda: found() == {"away", "guest"})

    lab.kubectl("delete", "networkpolicy", "--all", "-n", namespace)
    lab.eventually("without policies everybody", lambda: found() == {"near", "away", "guest"})
    tables = lab.ssh("worker-1", "nft list tables")
    assert "inet kybern-policies" not in tables, "and nothing is in the way"


def test_who_may_only_ask_for_names_reaches_nobody_else(lab: Lab, namespace: str) -> None:
    ips = start(lab, namespace, client="worker-1", server="worker-2")
    lab.kubectl("expose", "pod", "server", "-n", namespace, "--port=80", "--target-port=8080")
    name = f"server.{namespace}.svc.{lab.cluster.cluster_domain}"
    lab.eventually("the service answers", lambda: reaches(lab, namespace, "client", name, 80))

    chosen = {"matchLabels": {"app": "client"}}
    names = {"ports": [{"port": 53, "protocol": "UDP"}, {"port": 53, "protocol": "TCP"}]}
    put(lab, namespace, "names", podSelector=chosen, policyTypes=["Egress"], egress=[names])
    lab.eventually("the server is out of reach", lambda: not reaches(lab, namespace, "client", ips["server"]))
    told = lab.kubectl("exec", "client", "-n", namespace, "--", "nslookup", name)
    assert "Address" in told.partition(name)[2], "names are still told"
    assert not reaches(lab, namespace, "client", name, 80)

    server = {"to": [{"podSelector": {"matchLabels": {"app": "server"}}}], "ports": [{"port": 8080}]}
    put(lab, namespace, "names", podSelector=chosen, policyTypes=["Egress"], egress=[names, server])
    lab.eventually(
        "by name and through the service, at the pod's port",
        lambda: reaches(lab, namespace, "client", name, 80),
    )
    assert not reaches(lab, namespace, "client", ips["server"], 8081)


def test_rules_stay_while_the_daemon_does_not_run(lab: Lab, namespace: str) -> None:
    ips = start(lab, namespace, server="worker-1", client="worker-2")
    put(lab, namespace, "deny", policyTypes=["Ingress"])
    lab.eventually("shut", lambda: not reaches(lab, namespace, "client", ips["server"]))
    try:
        lab.ssh("worker-1", "systemctl stop kybern-policies")
        assert not reaches(lab, namespace, "client", ips["server"])
    finally:
        lab.ssh("worker-1", "systemctl start kybern-policies")
    assert not reaches(lab, namespace, "client", ips["server"])
    lab.kubectl("delete", "networkpolicy", "deny", "-n", namespace)
    lab.eventually("open again", lambda: reaches(lab, namespace, "client", ips["server"]))
