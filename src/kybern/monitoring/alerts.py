"""When somebody should be told. To add an alert: one entry of ALERTS.

Each names what is wrong and what to do next. ``page`` is for what users notice now, ``ticket`` for what they would.
"""

from dataclasses import dataclass
from typing import Any

from kybern.machines.standing import NEARLY
from kybern.machines.topology import Cluster


@dataclass(frozen=True, slots=True)
class Alert:
    """``when`` is PromQL, true for ``lasting`` before it is told; ``{nearly}`` in it is a number of the cluster's."""

    name: str
    when: str
    lasting: str
    severity: str
    summary: str
    action: str


ALERTS = (
    Alert(
        "ApiServerDown",
        'up{job="kube-apiserver"} == 0',
        "1m",
        "ticket",
        "The API server of {{ $labels.machine }} does not answer.",
        "kybern status tells more; the others serve meanwhile.",
    ),
    Alert(
        "ApiDown",
        'sum(up{job="kube-apiserver"}) == 0 or absent(up{job="kube-apiserver"})',
        "1m",
        "page",
        "No API server answers.",
        "kybern status; if etcd has no quorum: docs/how-to/backup.md.",
    ),
    Alert(
        "ApiErrors",
        'sum(rate(apiserver_request_total{code=~"5.."}[5m])) / sum(rate(apiserver_request_total[5m])) > 0.01',
        "10m",
        "page",
        "{{ $value | humanizePercentage }} of all requests fail.",
        "journalctl -u kube-apiserver on the masters; most often it is etcd, or a webhook.",
    ),
    Alert(
        "ApiSlow",
        "histogram_quantile(0.99, sum by (le, verb) "
        '(rate(apiserver_request_duration_seconds_bucket{verb!~"WATCH|CONNECT",subresource!~"log|exec|attach|portforward|proxy"}[5m]))'
        ") > 1",
        "10m",
        "ticket",
        "One of a hundred {{ $labels.verb }} requests takes {{ $value | humanizeDuration }}.",
        "Look at disks of etcd's members (kybern report), and at who asks so much (the audit log).",
    ),
    Alert(
        "ApiRefuses",
        "sum(rate(apiserver_dropped_requests_total[5m])) > 0",
        "10m",
        "ticket",
        "Requests are refused, since too many come at once.",
        "apiserver_flowcontrol_rejected_requests_total tells of which flow schema; docs/how-to/fairness.md.",
    ),
    Alert(
        "AggregatedApiUnavailable",
        "max by (name) (aggregator_unavailable_apiservice) == 1",
        "5m",
        "ticket",
        "The API {{ $labels.name }} cannot be had.",
        "kubectl describe apiservice {{ $labels.name }}",
    ),
    Alert(
        "WebhookFails",
        "sum by (name) (rate(apiserver_admission_webhook_fail_open_count[5m])) > 0",
        "10m",
        "ticket",
        "Writes pass without the webhook {{ $labels.name }}, which does not answer.",
        "kubectl get pods of its service; it is asked for every write that it wants.",
    ),
    Alert(
        "AuditLost",
        "sum by (plugin) (rate(apiserver_audit_error_total[5m])) > 0",
        "1m",
        "page",
        "Events of the audit log are lost ({{ $labels.plugin }}).",
        "Make room in /var/log/kubernetes of the masters.",
    ),
    Alert(
        "EtcdFills",
        "max by (storage_cluster_id) (apiserver_storage_size_bytes) > {nearly}",
        "10m",
        "ticket",
        "etcd's file has {{ $value | humanize1024 }}B, and is full soon: then nothing is written any more.",
        "kybern defragment, or a larger etcd_quota in the topology and a deploy.",
    ),
    Alert(
        "ClientCertificateExpires",
        "apiserver_client_certificate_expiration_seconds_count > 0 and on (machine) histogram_quantile(0.01, "
        "sum by (machine, le) (rate(apiserver_client_certificate_expiration_seconds_bucket[5m]))) < 604800",
        "15m",
        "ticket",
        "Somebody who asks {{ $labels.machine }} has a certificate that ends within a week.",
        "kybern certificates list names the cluster's own, kybern certificates renew exchanges them.",
    ),
    Alert(
        "NobodyLeads",
        "sum by (name) (leader_election_master_status) == 0",
        "2m",
        "page",
        "Nobody leads {{ $labels.name }}: nothing is scheduled, or nothing is repaired.",
        "journalctl -u {{ $labels.name }} on the masters.",
    ),
    Alert(
        "PodsUnschedulable",
        'sum(scheduler_pending_pods{queue="unschedulable"}) > 0',
        "15m",
        "ticket",
        "{{ $value }} pods fit on no node.",
        "kubectl get events -A --field-selector reason=FailedScheduling",
    ),
    Alert(
        "WorkPilesUp",
        "sum by (job, name) (workqueue_depth) > 1000",
        "15m",
        "ticket",
        "{{ $value }} objects wait in the queue {{ $labels.name }} of {{ $labels.job }}.",
        "Its log tells what fails; a slow API shows as ApiSlow.",
    ),
    Alert(
        "KubeletDown",
        'up{job="kubelet"} == 0',
        "2m",
        "page",
        "The kubelet of {{ $labels.machine }} does not answer: its pods are moved after five minutes.",
        "kybern status; a machine that is gone for good: kybern remove.",
    ),
    Alert(
        "PodsEvicted",
        "sum by (machine, eviction_signal) (increase(kubelet_evictions[30m])) > 0",
        "0m",
        "ticket",
        "{{ $labels.machine }} evicts pods ({{ $labels.eviction_signal }}).",
        "Give pods requests and limits, or the machine more of it.",
    ),
    Alert(
        "VolumeFull",
        "kubelet_volume_stats_available_bytes / kubelet_volume_stats_capacity_bytes < 0.1",
        "10m",
        "ticket",
        "The volume of {{ $labels.namespace }}/{{ $labels.persistentvolumeclaim }} has "
        "{{ $value | humanizePercentage }} left.",
        "Grow the claim: kubectl edit pvc.",
    ),
    Alert(
        "DnsDown",
        'sum(up{job="kybern-dns"}) == 0',
        "1m",
        "page",
        "No server answers for names of the cluster.",
        "journalctl -u kybern-dns on the masters.",
    ),
    Alert(
        "DnsErrors",
        'sum(rate(coredns_dns_responses_total{rcode="SERVFAIL"}[5m])) / sum(rate(coredns_dns_responses_total[5m])) > 0.01',
        "10m",
        "ticket",
        "{{ $value | humanizePercentage }} of all names asked for cannot be found out.",
        "kybern net check tells whether servers outside can be reached.",
    ),
)


def rules(cluster: Cluster) -> dict[str, Any]:
    """A rule file of Prometheus."""
    nearly = str(int(NEARLY * cluster.etcd_quota * 2**20))  # where kybern status begins to say so
    return {
        "groups": [
            {
                "name": "kybern",
                "rules": [
                    {
                        "alert": f"Kybern{each.name}",
                        "expr": each.when.replace("{nearly}", nearly),
                        "for": each.lasting,
                        "labels": {"severity": each.severity},
                        "annotations": {"summary": each.summary, "action": each.action},
                    }
                    for each in ALERTS
                ],
            }
        ]
    }
