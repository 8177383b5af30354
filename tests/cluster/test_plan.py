"""Plans on a cluster: nothing to do after a deploy, drift by name, a stale plan refused, and two operators kept apart."""

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kybern.machines import journal, lock
from kybern.machines.state import State
from tests.cluster.conftest import KYBERN, TOPOLOGY, Lab

SCHEDULER = "/etc/systemd/system/kube-scheduler.service"
KEY = "/etc/kubernetes/pki/apiserver.key"
# What a machine is asked by a deploy that finds nothing to do. The most is a master's.
TRIPS = 72


@pytest.fixture(autouse=True)
def as_it_was(lab: Lab) -> Iterator[None]:
    yield
    lab.kybern("deploy", TOPOLOGY, "--break-lock")


def planned(lab: Lab, *words: str) -> list[dict[str, Any]]:
    done = lab.kybern("plan", TOPOLOGY, "-o", "json", *words, check=False)
    assert done.returncode in (0, 2), done.stderr
    changes: list[dict[str, Any]] = json.loads(done.stdout)["changes"]
    assert bool(changes) == (done.returncode == 2)
    return changes


def test_after_a_deploy_there_is_nothing_to_do_and_little_was_asked(lab: Lab) -> None:
    lab.kybern("deploy", TOPOLOGY)
    kept = journal.known(State.of(lab.cluster.name).directory)[-1]

    done = lab.kybern("plan", TOPOLOGY)

    assert "Nothing to do: 5 machines" in done.stdout
    steps = journal.parsed(kept.read_text())
    assert steps.result == "done"
    asked = journal.trips(steps.steps)
    assert len(asked) == 5
    assert all(0 < count <= TRIPS for count in asked.values()), asked


def test_drift_is_planned_and_a_plan_is_applied_unless_it_is_stale(lab: Lab, tmp_path: Path) -> None:
    lab.ssh("master-1", f"sed -i 's/^.Service.$/&\\nNice=5/' {SCHEDULER}; echo other >{KEY}")
    lab.ssh("worker-1", "systemctl stop kube-proxy")
    file = tmp_path / "plan.json"

    text = lab.kybern("plan", TOPOLOGY, "--save", str(file), check=False).stdout
    found = {(one["machine"], one["verb"], one["subject"]) for one in planned(lab)}

    assert found == {
        ("master-1", "replace", SCHEDULER),
        ("master-1", "replace", KEY),
        ("worker-1", "start", "kube-proxy.service"),
    }
    assert "-Nice=5" in text
    assert "secret content differs" in text
    assert "PRIVATE" not in text + file.read_text()
    assert lab.ssh("worker-1", "systemctl is-active kube-proxy; true").strip() == "inactive"

    lab.ssh("worker-2", "chmod 600 /etc/hosts")
    refused = lab.kybern("apply", str(file), check=False)
    assert refused.returncode == 1
    assert "it is stale" in refused.stderr
    assert "worker-2: system: /etc/hosts: replace is to be done now, too" in refused.stderr
    assert lab.ssh("worker-1", "systemctl is-active kube-proxy; true").strip() == "inactive"

    lab.ssh("worker-2", "chmod 644 /etc/hosts")
    assert "3 changes on 5 machines" in lab.kybern("apply", str(file)).stdout
    assert planned(lab) == []


def test_the_lock_refuses_the_second_one_and_ends_with_the_first(lab: Lab) -> None:
    lab.ssh("worker-1", "systemctl stop kubelet kube-proxy")
    first = subprocess.Popen(
        [str(KYBERN), "deploy", TOPOLOGY], stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    try:
        lab.eventually("the lock is taken", lambda: lab.ssh("master-1", f"cat {lock.PLACE}"), seconds=30)
        second = lab.kybern("remove", TOPOLOGY, "worker-2", check=False)
        assert second.returncode == 1
        assert re.search(r"cannot work on \S+: \S+@\S+ \(deploy, process \d+, since", second.stderr)
        assert "worker-2" in lab.nodes_ready()
    finally:
        first.terminate()  # SIGTERM, as a supervisor ends it
        first.communicate(timeout=60)
    assert first.returncode == 130
    for master in lab.cluster.masters:
        assert lab.ssh(master.name, f"ls {lock.PLACE} 2>/dev/null; true") == ""


def test_a_lock_of_a_dead_run_can_be_broken(lab: Lab) -> None:
    for master in lab.cluster.masters:
        lab.ssh(master.name, f"printf 'aa\\n99999999999\\nsomebody\\n' >{lock.PLACE}")

    assert "somebody does" in lab.kybern("deploy", TOPOLOGY, check=False).stderr
    assert "0 changes on 5 machines" in lab.kybern("deploy", TOPOLOGY, "--break-lock").stdout
