"""Whom Prometheus asks: the scrape configuration for a topology. Pure.

Machines are written down and not found out: a machine that is gone shall be missed. Prometheus runs as a pod, whose account
may read metrics (``access``); only pods and machines of the cluster come to these ports.
See https://prometheus.io/docs/prometheus/latest/configuration/configuration/.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from kybern.machines.topology import Cluster, Machine

ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"
EVERY = "15s"


@dataclass(frozen=True, slots=True)
class Job:
    """Daemons that are asked in the same way. ``secure``: by TLS and with the account's token.

    ``verified``: their certificate is the cluster's. Those of controller manager and scheduler are made by themselves at
    each start, as upstream's are.
    """

    name: str
    port: int
    of: str
    path: str = "/metrics"
    secure: bool = True
    verified: bool = True


JOBS = (
    Job("kube-apiserver", 0, "masters"),
    Job("kube-controller-manager", 10257, "masters", verified=False),
    Job("kube-scheduler", 10259, "masters", verified=False),
    Job("kybern-dns", 9153, "masters", secure=False),
    Job("kubelet", 10250, "nodes"),
    Job("kubelet-cadvisor", 10250, "nodes", "/metrics/cadvisor"),
    Job("kubelet-probes", 10250, "nodes", "/metrics/probes"),
)

CLOUD = Job("cloud-controller-manager", 10258, "masters", verified=False)


def configuration(cluster: Cluster) -> dict[str, Any]:
    """A whole configuration file of Prometheus, beside which ``alerts.yaml`` lies."""
    return {
        "global": {
            "scrape_interval": EVERY,
            "evaluation_interval": EVERY,
            "external_labels": {"cluster": cluster.name},
        },
        "rule_files": ["alerts.yaml"],
        "scrape_configs": [_job(job, cluster) for job in (*JOBS, *((CLOUD,) if cluster.cloud else ()))],
    }


def _job(job: Job, cluster: Cluster) -> dict[str, Any]:
    machines = cluster.masters if job.of == "masters" else [each for each in cluster.machines if each.is_node]
    found: dict[str, Any] = {"job_name": job.name, "metrics_path": job.path}
    if job.secure:
        trust = {"ca_file": f"{ACCOUNT}/ca.crt"} if job.verified else {"insecure_skip_verify": True}
        found |= {
            "scheme": "https",
            "authorization": {"credentials_file": f"{ACCOUNT}/token"},
            "tls_config": trust,
        }
    return found | {"static_configs": _targets(machines, job.port or cluster.api_port)}


def _targets(machines: Sequence[Machine], port: int) -> list[dict[str, Any]]:
    return [{"targets": [f"{each.host}:{port}"], "labels": {"machine": each.name}} for each in machines]
