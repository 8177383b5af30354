"""What an operator sees at a glance, as a dashboard of Grafana. To add a panel: one entry of PANELS.

Imported by hand or by provisioning; it asks for the Prometheus to use.
See https://grafana.com/docs/grafana/latest/dashboards/build-dashboards/view-dashboard-json-model/.
"""

from dataclasses import dataclass
from typing import Any

SOURCE = {"type": "prometheus", "uid": "${source}"}
WIDTH, HEIGHT, COLUMNS = 12, 8, 24


@dataclass(frozen=True, slots=True)
class Panel:
    """A graph. ``shows`` is PromQL, ``legend`` a line's name, ``unit`` one of Grafana's."""

    title: str
    shows: str
    legend: str
    unit: str = "short"


PANELS = (
    Panel("Answers", "up", "{{job}} {{machine}}", "bool_on_off"),
    Panel("Requests a second", "sum by (verb) (rate(apiserver_request_total[2m]))", "{{verb}}", "reqps"),
    Panel(
        "Requests that fail, a second",
        'sum by (code, resource) (rate(apiserver_request_total{code=~"5..|429"}[2m]))',
        "{{code}} {{resource}}",
        "reqps",
    ),
    Panel(
        "Slowest of a hundred requests",
        "histogram_quantile(0.99, sum by (le, verb) "
        '(rate(apiserver_request_duration_seconds_bucket{verb!~"WATCH|CONNECT"}[5m])))',
        "{{verb}}",
        "s",
    ),
    Panel(
        "Requests at once",
        "sum by (machine, request_kind) (apiserver_current_inflight_requests)",
        "{{machine}} {{request_kind}}",
    ),
    Panel("Watches", "sum by (machine) (apiserver_longrunning_requests)", "{{machine}}"),
    Panel("CPU of the control plane", "rate(process_cpu_seconds_total[2m])", "{{job}} {{machine}}", "percentunit"),
    Panel("Memory of the control plane", "process_resident_memory_bytes", "{{job}} {{machine}}", "bytes"),
    Panel("Who leads", "leader_election_master_status == 1", "{{name}} {{machine}}"),
    Panel("Work that waits", "sum by (name) (workqueue_depth) > 0", "{{name}}"),
    Panel("Pods that wait for a node", "sum by (queue) (scheduler_pending_pods)", "{{queue}}"),
    Panel(
        "Attempts to schedule, a second",
        "sum by (result) (rate(scheduler_schedule_attempts_total[2m]))",
        "{{result}}",
        "ops",
    ),
    Panel("Pods of nodes", "kubelet_running_pods", "{{machine}}"),
    Panel("Pods evicted in an hour", "sum by (machine) (increase(kubelet_evictions[1h]))", "{{machine}}"),
    Panel(
        "Use of volumes",
        "1 - kubelet_volume_stats_available_bytes / kubelet_volume_stats_capacity_bytes",
        "{{namespace}}/{{persistentvolumeclaim}}",
        "percentunit",
    ),
    Panel("Names asked for, a second", "sum by (machine) (rate(coredns_dns_requests_total[2m]))", "{{machine}}", "reqps"),
    Panel("Answers about names", "sum by (rcode) (rate(coredns_dns_responses_total[2m]))", "{{rcode}}", "reqps"),
    Panel("Events of the audit log lost", "sum by (plugin) (rate(apiserver_audit_error_total[5m]))", "{{plugin}}", "ops"),
)  # fmt: skip


def dashboard() -> dict[str, Any]:
    """The JSON model of the dashboard."""
    return {
        "title": "Kybern",
        "uid": "kybern",
        "schemaVersion": 39,
        "refresh": "30s",
        "time": {"from": "now-3h", "to": "now"},
        "templating": {
            "list": [{"name": "source", "label": "Prometheus", "type": "datasource", "query": "prometheus"}]
        },
        "panels": [_panel(number, panel) for number, panel in enumerate(PANELS)],
    }


def _panel(number: int, panel: Panel) -> dict[str, Any]:
    place = number * WIDTH
    return {
        "id": number + 1,
        "type": "timeseries",
        "title": panel.title,
        "datasource": SOURCE,
        "gridPos": {"x": place % COLUMNS, "y": place // COLUMNS * HEIGHT, "w": WIDTH, "h": HEIGHT},
        "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0}, "overrides": []},
        "targets": [{"refId": "A", "datasource": SOURCE, "expr": panel.shows, "legendFormat": panel.legend}],
    }
