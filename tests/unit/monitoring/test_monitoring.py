"""Files for Prometheus and Grafana: they name what there is, and nobody that there is not."""

import json
import re
from pathlib import Path

import pytest
import yaml

from kybern.cli.monitoring import monitoring
from kybern.machines.load import load
from kybern.monitoring.access import objects
from kybern.monitoring.alerts import ALERTS, rules
from kybern.monitoring.dashboard import COLUMNS, PANELS, dashboard
from kybern.monitoring.scraping import JOBS, configuration

ROOT = Path(__file__).parents[3]
LAB = load(ROOT / "inventories/topology/lab.yaml")
# Of Prometheus itself, and of the library that all daemons' figures go through.
OTHERS = {"up", "process_cpu_seconds_total", "process_resident_memory_bytes"}
NAME = re.compile(r"\b[a-z]+(?:_[a-z]+)+\b(?=[\s{\[)]|$)|\bup\b")
SUFFIX = re.compile(r"_(total|bucket|count|sum)$")


def names(expression: str) -> set[str]:
    """Metrics in an expression: what stands before a selector, a range or an end."""
    bare = re.sub(r"\b(by|without|on)\s*\([^)]*\)", "", re.sub(r'"[^"]*"', "", expression))
    bare = re.sub(r"\{[^}]*\}", "{", bare)
    return set(NAME.findall(bare)) - {"histogram_quantile"}


@pytest.fixture(scope="module")
def made() -> set[str]:
    """All names in the daemons' sources that may be those of metrics."""
    sources = [
        path.read_text()
        for path in (ROOT / "src/kybern").rglob("*.py")
        if "monitoring" not in path.parts and "_generated" not in path.parts
    ]
    return {found for text in sources for found in re.findall(r'"([a-z]+(?:_[a-z]+)+)"', text)}


EXPRESSIONS = [*((each.name, each.when) for each in ALERTS), *((each.title, each.shows) for each in PANELS)]


@pytest.mark.parametrize(
    ("name", "expression"), EXPRESSIONS, ids=[name.replace(" ", "-") for name, _ in EXPRESSIONS]
)
def test_every_metric_that_is_asked_for_is_made_by_a_daemon(
    name: str, expression: str, made: set[str]
) -> None:
    found = names(expression)

    assert found, f"{name} asks for nothing"
    assert {one for one in found - OTHERS if one not in made and SUFFIX.sub("", one) not in made} == set()


def test_names_are_found_in_expressions() -> None:
    assert names('sum by (le) (rate(a_b_bucket{x="c_d"}[5m])) / e_f > 0.1 or up{job="x"} == 0') == {
        "a_b_bucket", "e_f", "up",
    }  # fmt: skip


def test_every_machine_is_asked_for_what_it_runs() -> None:
    found = configuration(LAB)
    jobs = {job["job_name"]: job for job in found["scrape_configs"]}

    assert list(jobs) == [job.name for job in JOBS]
    assert [one["targets"][0] for one in jobs["kube-apiserver"]["static_configs"]] == [
        "10.42.0.11:6443", "10.42.0.12:6443", "10.42.0.13:6443",
    ]  # fmt: skip
    assert len(jobs["kubelet"]["static_configs"]) == 5
    assert jobs["kubelet"]["tls_config"] == {
        "ca_file": "/var/run/secrets/kubernetes.io/serviceaccount/ca.crt"
    }
    assert "scheme" not in jobs["kybern-dns"]


def test_alerts_have_names_of_their_own_and_say_what_to_do() -> None:
    found = rules(LAB)["groups"][0]["rules"]

    assert len({rule["alert"] for rule in found}) == len(found)
    assert all(rule["annotations"]["summary"] and rule["annotations"]["action"] for rule in found)
    assert {rule["labels"]["severity"] for rule in found} == {"page", "ticket"}


def test_etcd_is_told_of_before_its_quota_is_used_up() -> None:
    found = {rule["alert"]: rule["expr"] for rule in rules(LAB)["groups"][0]["rules"]}
    assert found["KybernEtcdFills"].endswith(f"> {2048 * 2**20 * 4 // 5}")
    assert not any("{nearly}" in expression for expression in found.values())


def test_panels_do_not_lie_on_each_other() -> None:
    places = [panel["gridPos"] for panel in dashboard()["panels"]]

    assert len({(place["x"], place["y"]) for place in places}) == len(places)
    assert all(place["x"] + place["w"] <= COLUMNS for place in places)


def test_the_account_may_read_metrics_and_nothing_else() -> None:
    role = next(one for one in objects() if one["kind"] == "ClusterRole")

    assert {verb for rule in role["rules"] for verb in rule["verbs"]} == {"get"}
    assert [rule.get("resources", rule.get("nonResourceURLs")) for rule in role["rules"]] == [
        ["/metrics"],
        ["nodes/metrics"],
    ]


def test_the_files_are_written_and_can_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    monitoring("lab", tmp_path / "new")

    assert yaml.safe_load((tmp_path / "new/prometheus.yaml").read_text()) == configuration(LAB)
    assert yaml.safe_load((tmp_path / "new/alerts.yaml").read_text()) == rules(LAB)
    assert json.loads((tmp_path / "new/dashboard.json").read_text()) == dashboard()
    assert len(list(yaml.safe_load_all((tmp_path / "new/access.yaml").read_text()))) == len(objects())
