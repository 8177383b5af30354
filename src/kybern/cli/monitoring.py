"""``kybern monitoring``: files for a Prometheus and a Grafana that watch the cluster."""

import json
from pathlib import Path
from typing import Annotated

import typer
import yaml

from kybern.cli import machines
from kybern.cli.machines import Topology
from kybern.machines.state import State, write
from kybern.monitoring.access import objects
from kybern.monitoring.alerts import rules
from kybern.monitoring.dashboard import dashboard
from kybern.monitoring.scraping import configuration


def monitoring(
    topology: Topology = "lab",
    to: Annotated[
        Path | None, typer.Option("--to", help="Where the files go; .kybern/CLUSTER/monitoring.")
    ] = None,
) -> None:
    """Write scrape configuration, alerts, a dashboard and the rights that Prometheus needs."""
    cluster = machines.read(topology, None)
    place = to or State.of(cluster.name).directory / "monitoring"
    place.mkdir(parents=True, exist_ok=True)
    texts = {
        "prometheus.yaml": yaml.safe_dump(configuration(cluster), sort_keys=False),
        "alerts.yaml": yaml.safe_dump(rules(cluster), sort_keys=False, width=120),
        "dashboard.json": json.dumps(dashboard(), indent=2) + "\n",
        "access.yaml": yaml.safe_dump_all(objects(), sort_keys=False),
    }
    for name, text in texts.items():
        write(place / name, text.encode())
    print(
        f"In {place}:\n"
        "  access.yaml       namespace and account of a Prometheus: kubectl apply -f\n"
        "  prometheus.yaml   its configuration\n"
        "  alerts.yaml       its rules, beside the configuration\n"
        "  dashboard.json    for Grafana: Dashboards, Import"
    )
