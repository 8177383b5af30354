"""The control plane becomes pods of its own machines, and units again, while it is used: nothing is lost on the way.

Meanwhile the API is asked ten times a second through its address, and a watch is held open over the whole of it.
"""

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml

from kybern.daemon.version import VERSION
from kybern.machines import control_plane
from kybern.machines.control_plane import DAEMONS
from kybern.machines.state import State
from tests.cluster.conftest import Lab
from tests.cluster.test_cluster import web
from tests.cluster.test_days_after import MOVES, asking, served
from tests.cluster.test_upgrade import NEXT, Tree, versions

pytestmark = [pytest.mark.operations, pytest.mark.timeout(1500)]


@pytest.fixture(scope="module")
def topologies(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The cluster's topology with either setting, as files. It runs as units before and afterwards."""
    place = tmp_path_factory.mktemp("topologies")
    made = {}
    for way in ("services", "pods"):
        path = place / f"{way}.yaml"
        path.write_text(yaml.safe_dump(yaml.safe_load(lab.topology.read_text()) | {"control_plane": way}))
        made[way] = str(path)
    yield made
    lab.kybern("deploy", made["services"], "--break-lock")


def ways(lab: Lab) -> dict[str, set[str]]:
    """How each daemon runs, on all masters: by its unit, by a pod, or by both."""
    found: dict[str, set[str]] = {name: set() for name in DAEMONS}
    for master in lab.cluster.masters:
        for name in DAEMONS:
            asked = (
                f"systemctl is-active -q {name} && echo unit; {control_plane.runs(name)} && echo pod; true"
            )
            found[name].add("+".join(lab.ssh(master.name, asked).split()) or "none")
    return found


def all_are(way: str) -> dict[str, set[str]]:
    return {name: {way} for name in DAEMONS}


def nothing_to_do(lab: Lab, topology: str) -> None:
    assert f"0 changes on {len(lab.cluster.machines)} machines" in lab.kybern("deploy", topology).stdout


@contextmanager
def writing(lab: Lab, namespace: str) -> Iterator[list[str]]:
    """A config map for each step: what was written before is there after."""
    names: list[str] = []
    yield names
    for name in names:
        assert lab.get("configmap", name, "-n", namespace)["metadata"]["name"] == name


def test_it_becomes_pods_and_units_again_and_no_request_fails(
    lab: Lab, namespace: str, topologies: dict[str, str]
) -> None:
    web(lab, namespace)
    before = {pod["metadata"]["uid"] for pod in lab.running(namespace, "app=web")}
    with writing(lab, namespace) as names, asking(lab) as asked:
        for way, runs in (("pods", "pod"), ("services", "unit"), ("pods", "pod")):
            names.append(f"before-{way}-{len(names)}")
            lab.kubectl("create", "configmap", names[-1], "-n", namespace)
            lab.kybern("deploy", topologies[way])
            assert ways(lab) == all_are(runs)
            nothing_to_do(lab, topologies[way])

    # The address moves from a master that stops and back to it; what is on its way at that moment is cut off.
    assert len(asked.failures) <= 3 * MOVES, asked
    assert asked.answers > 300
    assert {pod["metadata"]["uid"] for pod in lab.running(namespace, "app=web")} == before
    shown = lab.get("pods", "-n", "kube-system", "-l", "tier=control-plane")["items"]
    assert {pod["metadata"]["name"] for pod in shown} == {
        f"{name}-{master.name}" for name in DAEMONS for master in lab.cluster.masters
    }


def as_pods(lab: Lab, topologies: dict[str, str]) -> str:
    """The cluster as pods, whichever test came before."""
    lab.kybern("deploy", topologies["pods"])
    return topologies["pods"]


def test_those_who_look_find_it_whole(lab: Lab, topologies: dict[str, str]) -> None:
    topology = as_pods(lab, topologies)

    assert f"{lab.cluster.name} is whole" in lab.kybern("status", topology).stdout
    assert "0 failed, 0 unknown" in lab.kybern("audit", topology).stdout
    assert " 0 failures" in lab.kybern("preflight", topology).stdout
    assert "passed" in lab.kybern("verify", topology).stdout
    said = lab.kybern("plan", topologies["services"], check=False).stdout
    assert "kube-apiserver.service" in said


@pytest.mark.parametrize("name", DAEMONS)
def test_one_that_is_killed_comes_back(lab: Lab, topologies: dict[str, str], name: str) -> None:
    topology = as_pods(lab, topologies)
    master = lab.cluster.masters[-1].name
    before = lab.ssh(master, control_plane.pid(name)).strip()

    with asking(lab) as asked:
        lab.ssh(master, f"kill -9 {before}")
        lab.eventually(
            f"another {name}", lambda: lab.ssh(master, control_plane.pid(name)).strip() not in ("", before)
        )
        lab.eventually("all is whole", lambda: lab.kybern("status", topology, check=False).returncode == 0)

    assert len(asked.failures) <= MOVES, asked
    nothing_to_do(lab, topology)


def test_a_pod_that_is_not_there_is_told(lab: Lab, topologies: dict[str, str]) -> None:
    topology = as_pods(lab, topologies)
    master = lab.cluster.masters[-1].name
    path, aside = control_plane.manifest("kube-scheduler"), control_plane.aside("kube-scheduler")
    lab.ssh(master, f"mv {path} {aside}")
    try:
        lab.eventually(
            "status tells",
            lambda: "not running: kube-scheduler" in lab.kybern("status", topology, check=False).stdout,
        )
    finally:
        lab.kybern("deploy", topology)
    assert ways(lab) == all_are("pod")


def test_renewed_certificates_are_served_by_the_pods(lab: Lab, topologies: dict[str, str]) -> None:
    topology = as_pods(lab, topologies)
    path = State.of(lab.cluster.name).directory / "pki/machines/master-1/apiserver.crt"
    pods = lab.ssh("master-1", control_plane.pid("kube-apiserver"))

    with asking(lab) as asked:
        lab.kybern("certificates", "renew", topology, "--all")
        lab.eventually("the new one is served", lambda: served(lab) == path.read_bytes().strip(), seconds=60)

    assert asked.failures == []
    assert lab.ssh("master-1", control_plane.pid("kube-apiserver")) == pods, (
        "it was not started again for that"
    )
    nothing_to_do(lab, topology)


def test_a_switch_that_is_killed_is_finished_by_the_next_run(lab: Lab, topologies: dict[str, str]) -> None:
    topology = as_pods(lab, topologies)
    with asking(lab) as asked:
        killed(lab, topologies["services"], 20)
        lab.kybern("deploy", topology, "--break-lock")
        assert ways(lab) == all_are("pod")
        nothing_to_do(lab, topology)
    assert len(asked.failures) <= 2 * MOVES, asked


def killed(lab: Lab, topology: str, seconds: float) -> None:
    """A deploy whose operator loses patience."""
    with pytest.raises(subprocess.TimeoutExpired):
        lab.kybern("deploy", topology, seconds=int(seconds))


def test_nothing_of_the_other_way_stays(lab: Lab, topologies: dict[str, str]) -> None:
    lab.kybern("deploy", topologies["services"])

    asked = f"ls -A {control_plane.MANIFESTS}; ctr -n k8s.io images ls -q | grep control-plane; true"
    assert [lab.ssh(master.name, asked) for master in lab.cluster.masters] == [""] * len(lab.cluster.masters)


def served_version(lab: Lab) -> str:
    return str(json.loads(lab.kubectl("get", "--raw", "/version"))["gitVersion"])


def test_an_upgrade_and_the_way_back_replace_the_pods(
    lab: Lab, topologies: dict[str, str], tmp_path: Path
) -> None:
    """To another release, whose image they run then, and back to this one."""
    topology = as_pods(lab, topologies)
    tree = Tree(tmp_path / "next", NEXT)

    with asking(lab) as asked:
        done = tree.kybern("upgrade", topology)
        assert done.returncode == 0, done.stderr[-3000:]
        assert set(versions(lab).values()) == {NEXT}
        assert ways(lab) == all_are("pod")
        assert served_version(lab) == NEXT
        assert "Nothing to upgrade" in tree.kybern("upgrade", topology).stdout

        lab.kybern("upgrade", topology, "--allow-downgrade", seconds=900)
        assert set(versions(lab).values()) == {VERSION}
        assert ways(lab) == all_are("pod")
        assert served_version(lab) == VERSION
    assert len(asked.failures) <= 2 * MOVES, asked
    nothing_to_do(lab, topology)
