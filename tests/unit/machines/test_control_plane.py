"""What a machine is asked of the control plane's pods: the texts, run by a shell beside a containerd that is a script."""

import os
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from kybern.evidence.questions import parts
from kybern.machines import control_plane
from kybern.machines.bundle import contents
from kybern.machines.cis.questions import commands
from kybern.machines.load import load
from kybern.machines.standing import question, told, units
from kybern.machines.upgrading import asking, found

LAB = load(Path(__file__).parents[3] / "inventories/topology/lab.yaml")
PODS = replace(LAB, control_plane="pods")
MASTER = LAB.masters[0]
CTR = """#!/bin/sh
[ ! -e {root}/down ] || exit 1
case "$3 $4" in
"containers ls") case "$6" in *"==kube-apiserver,"*) printf 'dead\\nnew\\n' ;; *"==kube-scheduler,"*) echo other ;; esac ;;
"tasks ls") printf 'TASK PID STATUS\\ndead 7 STOPPED\\nnew %s RUNNING\\nnewer 9 RUNNING\\n' "$(cat {root}/pid)" ;;
"containers info")
    printf '  "io.kubernetes.pod.uid": "uid-of-%s",\\n' "$5"
    printf '  "io.kubernetes.container.restartCount": "3",\\n' ;;
esac
"""


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    """A directory whose containerd runs the API server, has seen another one end, and runs somebody else's pod."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "manifests").mkdir()
    (tmp_path / "pid").write_text("8")
    (tmp_path / "bin/ctr").write_text(CTR.format(root=tmp_path))
    (tmp_path / "bin/systemctl").write_text("#!/bin/sh\n[ $1 != show ] || echo 0\n")
    for program in (tmp_path / "bin").iterdir():
        program.chmod(0o755)
    return tmp_path


def run(machine: Path, script: str, **environment: str) -> subprocess.CompletedProcess[str]:
    script = script.replace(control_plane.MANIFESTS, f"{machine}/manifests")
    path = f"{machine}/bin:{os.environ['PATH']}"
    return subprocess.run(
        ["sh", "-c", script],
        check=False, capture_output=True, text=True, timeout=30, env={**os.environ, "PATH": path, **environment},
    )  # fmt: skip


def test_what_runs_is_told_and_not_what_has_ended_or_is_another_s(machine: Path) -> None:
    assert run(machine, control_plane.tasks("kube-apiserver")).stdout == "new 8\n"
    assert run(machine, control_plane.pid("kube-apiserver")).stdout == "8\n"
    assert run(machine, control_plane.uids("kube-apiserver")).stdout == "uid-of-new\n"
    assert run(machine, control_plane.attempts("kube-apiserver")).stdout == "3\n"
    assert run(machine, control_plane.runs("kube-apiserver")).returncode == 0
    # Its container is there, and its process is not.
    assert run(machine, control_plane.runs("kube-scheduler")).returncode != 0
    assert run(machine, control_plane.runs("kube-controller-manager")).returncode != 0


def test_one_that_does_not_end_is_told_and_its_manifest_stays_aside(
    machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control_plane, "STOP_SECONDS", 1)
    (machine / "manifests/kube-apiserver.yaml").write_text("manifest")

    done = run(machine, control_plane.stopping("kube-apiserver"))

    assert done.returncode == 1
    assert "the pod of kube-apiserver does not end" in done.stderr
    assert [path.name for path in (machine / "manifests").iterdir()] == [".kube-apiserver.yaml.leaving"]


def test_one_that_ends_is_waited_for_also_by_a_second_run(machine: Path) -> None:
    (machine / "manifests/kube-scheduler.yaml").write_text("manifest")

    for _ in range(2):
        assert run(machine, control_plane.stopping("kube-scheduler")).returncode == 0


def test_without_containerd_nothing_counts_as_ended(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control_plane, "STOP_SECONDS", 1)
    (machine / "manifests/kube-scheduler.yaml").write_text("manifest")
    (machine / "down").touch()

    assert run(machine, control_plane.stopping("kube-scheduler")).returncode == 1
    assert run(machine, control_plane.tasks("kube-scheduler")).returncode != 0


def test_status_asks_for_containers_in_the_place_of_units(machine: Path) -> None:
    assert not {f"{name}.service" for name in control_plane.DAEMONS} & set(units(PODS, MASTER))
    said = run(machine, question(PODS, MASTER)).stdout

    assert told(said).failed == ("kube-controller-manager", "kube-scheduler")


def test_an_upgrade_counts_what_the_kubelet_has_made_again(machine: Path) -> None:
    said = run(machine, asking(PODS, MASTER)).stdout

    assert found(said).restarts == 3


def test_audit_report_and_bundle_know_pods() -> None:
    asked = commands(PODS, MASTER)
    assert asked["files/unit/kube-scheduler"].endswith(f"{control_plane.manifest('kube-scheduler')}; true")
    assert control_plane.pid("kube-scheduler") in asked["flags/kube-scheduler"]
    assert set(asked) == set(commands(LAB, MASTER))
    assert {"journal/kube-apiserver", "units/kube-apiserver"} <= set(parts(PODS, MASTER))
    assert "units/kube-apiserver" not in parts(PODS, LAB.workers[-1])
    # Without machines of its own the operator's side makes their image all the same.
    assert set(contents.BASE) <= set(contents.asked(replace(PODS, driver="none")))
    assert not set(contents.BASE) & set(contents.asked(replace(LAB, driver="none")))
