"""What the check puts into the cluster: a namespace of its own, and for each node an asker, a server and a Service. Pure.

The image is one that every deployed node has (``roles/runtime.py``), and no registry is asked for it. Pods are bound to
their nodes here: a check of the network does not wait for a scheduler. They end by themselves after LIFETIME, if the one
who made them was killed before it could remove them.
"""

from typing import Any

from kybern.reach.probes import PORT, SERVICE_PORT

IMAGE = "busybox:1.36"
LIFETIME = 600  # seconds
LABEL = "kybern.io/reach"
FULL = 20000  # bytes: some packets, of the largest links there are (jumbo frames) as well


def namespace(name: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": {LABEL: "check"}}}


def asker(namespace: str, node: str) -> dict[str, Any]:
    return _pod(namespace, "ask", node, f"exec sleep {LIFETIME}")


def server(namespace: str, node: str) -> dict[str, Any]:
    """Answers with its node's name."""
    return _pod(namespace, "serve", node, serving(node, "/w", PORT))


def serving(node: str, folder: str, port: int) -> str:
    """A shell's command. The name is behind so many blanks that whole packets are full, as a user's are."""
    page = f"printf '%{FULL}s\\n{node}\\n' '' >{folder}/index.html"
    return f"mkdir -p {folder} && {page} && exec httpd -f -p {port} -h {folder}"


def _pod(namespace: str, role: str, node: str, command: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": f"{role}-{node}",
            "namespace": namespace,
            "labels": {LABEL: role, f"{LABEL}-node": node},
        },
        "spec": {
            "nodeName": node,
            "restartPolicy": "Never",
            "activeDeadlineSeconds": LIFETIME,
            "terminationGracePeriodSeconds": 0,
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "tolerations": [{"operator": "Exists"}],
            "containers": [
                {
                    "name": role,
                    "image": IMAGE,
                    "imagePullPolicy": "Never",
                    "command": ["sh", "-c", command],
                }
            ],
        },
    }


def service(namespace: str, node: str) -> dict[str, Any]:
    """Leads to the node's server alone, so that each pair of nodes is tried."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": f"to-{node}", "namespace": namespace},
        "spec": {
            "ipFamilyPolicy": "PreferDualStack",
            "selector": {LABEL: "serve", f"{LABEL}-node": node},
            "ports": [{"name": "http", "port": SERVICE_PORT, "targetPort": PORT}],
        },
    }


def name_of(namespace: str, node: str, domain: str) -> str:
    """The Service's name; the dot at its end spares the search path."""
    return f"to-{node}.{namespace}.svc.{domain}"
