"""``kybern upgrade`` before anything is touched: what speaks against it, and what is left to do."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from kybern.cli import upgrade as command
from kybern.cli.rolling import Rolling
from kybern.machines.changes import Change
from kybern.machines.errors import MachineError
from kybern.machines.standing import Told
from kybern.machines.upgrading import Looked, Step
from tests.unit.cli.test_rolling import LAB
from tests.unit.machines.test_upgrading import WELL, node, says, told

MASTER, WORKER = LAB.machines[0], LAB.machines[3]


@pytest.fixture
def differs(monkeypatch: pytest.MonkeyPatch) -> dict[str, tuple[str, ...]]:
    """What a deploy would change: machines with subjects."""
    found: dict[str, tuple[str, ...]] = {}

    def run_plan(_topology: str, _cluster: Any, _more: Sequence[str] = ()) -> tuple[Change, ...]:
        return tuple(
            Change(machine, "kubelet", "Files", "file", subject, "replace")
            for machine, subjects in found.items()
            for subject in subjects
        )

    monkeypatch.setattr(command, "run_plan", run_plan)
    monkeypatch.setattr(command, "VERSION", "v1.36.2-kybern")
    return found


def plan(looked: Looked, *, packages: bool = False) -> tuple[Step, ...]:
    silent = [each for each in LAB.machines if not looked.of(each.name).told.answers]
    return command.planned(Rolling("lab", LAB, 60.0, packages), looked, 1, silent)


def names(steps: tuple[Step, ...]) -> list[str]:
    return [step.names for step in steps]


def test_nothing_that_differs_is_nothing_to_do(differs: dict[str, tuple[str, ...]]) -> None:
    assert differs == {}
    assert plan(WELL) == ()


def test_what_differs_and_what_was_left_cordoned_is_to_do(differs: dict[str, tuple[str, ...]]) -> None:
    differs["master-2"] = ("package | In use",)
    nodes = {**(WELL.nodes or {}), "worker-2": node("worker-2", ours=True)}

    assert names(plan(replace(WELL, nodes=nodes))) == ["master-2", "worker-2"]


def test_a_machine_that_is_not_well_and_left_alone_is_to_be_mended_first(
    differs: dict[str, tuple[str, ...]],
) -> None:
    differs["master-2"] = ("package | In use",)

    with pytest.raises(
        MachineError, match=r"nothing was touched: not running on worker-1: kubelet; .* --rollback"
    ):
        plan(told("worker-1", failed=("kubelet.service",)))
    # Its own upgrade is what mends it.
    assert names(plan(told("master-2", failed=("kubelet.service",), ready=False))) == ["master-2"]


def test_a_cluster_that_is_not_well_and_up_to_date_is_left_alone(differs: dict[str, tuple[str, ...]]) -> None:
    assert differs == {}
    assert plan(told("worker-1", failed=("kubelet.service",))) == ()


def test_a_silent_worker_is_left_out(differs: dict[str, tuple[str, ...]]) -> None:
    differs |= {"worker-1": ("x",), "worker-2": ("x",)}

    assert names(plan(told("worker-1", answers=False))) == ["worker-2"]


def test_all_that_speaks_against_it_is_told_at_once(differs: dict[str, tuple[str, ...]]) -> None:
    assert differs == {}
    looked = says("master-1", running={"kube-apiserver": "v1.34.0"}, offered="3.7.0-1")
    looked = replace(
        looked,
        machines={
            **looked.machines,
            "worker-1": replace(looked.of("worker-1"), running={"kubelet": "v1.36.9"}),
            "master-3": replace(looked.of("master-3"), told=Told()),
        },
    )

    against = command.refused(LAB, looked, False)

    assert [line for line in against if "kube-apiserver of master-1" in line]
    assert [line for line in against if "kubelet of worker-1 is v1.36.9, newer" in line]
    assert [line for line in against if "etcd of master-1 would skip minor versions" in line]
    assert "master-3 does not answer by SSH" in against
    assert len(against) == 4
    assert len(command.refused(LAB, looked, True)) == 3
