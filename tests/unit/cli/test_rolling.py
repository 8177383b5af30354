"""The steps of an upgrade on machines that exist only as answers: what is done, in which order, and where it ends."""

from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, override

import pytest

from kybern.cli import rolling
from kybern.cli.deploys import StepFailed
from kybern.cli.rolling import AsBefore, Rolling
from kybern.client.rest import Client
from kybern.machines.errors import MachineError
from kybern.machines.load import load
from kybern.machines.upgrading import Looked, Step
from tests.unit.machines.test_upgrading import OLD, WELL, says, told

ROOT = Path(__file__).parents[3]
LAB = load(ROOT / "inventories/topology/lab.yaml")
MASTER, WORKER = LAB.machines[0], LAB.machines[3]
NEW = "v1.36.3-kybern"


@dataclass
class Scene(Rolling):
    """``looks`` are what is found one after the other, the last one again and again; ``did`` is what was done."""

    looks: list[Looked] = field(default_factory=list)
    did: list[str] = field(default_factory=list)
    held: str = ""
    failing: tuple[str, ...] = ()
    after: Looked | None = None  # what is found once a machine went back

    @override
    def look(self, *, packages: bool = False) -> Looked:
        return self.looks.pop(0) if len(self.looks) > 1 else self.looks[0]

    @override
    def _ask[T](self, what: Callable[[Client], Coroutine[Any, Any, T]]) -> T:
        raise AssertionError("the API is asked by what is replaced here")

    @override
    def _drain(self, names: list[str]) -> None:
        self.did.append(f"drain {' '.join(names)}")
        if self.held:
            raise AsBefore(self.held)

    @override
    def _take_pods(self, names: Any) -> None:
        self.did.append(f"uncordon {' '.join(names)}")


def new(name: str, **more: Any) -> Looked:
    """As after its deploy: all that runs there is of the new version."""
    running = dict.fromkeys(WELL.of(name).running, NEW)
    return says(
        name, running=running, release="package-bbb", named="package-bbb", before="package-aaa", **more
    )


@pytest.fixture
def scene(monkeypatch: pytest.MonkeyPatch) -> Scene:
    made = Scene("lab", LAB, 60.0, target=NEW, looks=[WELL, new(MASTER.name)])

    def run_deploy(_topology: str, _cluster: Any, more: Sequence[str] = (), verb: str = "cluster") -> int:
        made.did.append(f"{verb} {' '.join(word for word in more if not word.startswith('--'))}")
        if verb in made.failing:
            raise StepFailed(f"deploys/{verb}.py failed")
        if verb == "rollback" and made.after:
            made.looks = [made.after]
        return 3

    monkeypatch.setattr(rolling, "run_deploy", run_deploy)
    monkeypatch.setattr(rolling, "BEGIN", -1.0)
    monkeypatch.setattr(rolling, "WELL", 0.2)
    monkeypatch.setattr(rolling, "AGAIN", 0.01)
    return made


def test_a_machine_is_drained_deployed_seen_well_twice_and_takes_pods_again(scene: Scene) -> None:
    scene.run(Step("cluster", (MASTER,)))

    assert scene.did == ["drain master-1", "cluster master-1", "uncordon master-1"]
    assert (scene.changes, [step.names for step, _ in scene.seconds]) == (3, ["master-1"])


def test_api_servers_alone_are_upgraded_without_a_drain(scene: Scene) -> None:
    mixed = says(MASTER.name, running={"kube-apiserver": NEW, "kubelet": OLD})
    scene.looks = [WELL, mixed]

    scene.run(Step("apiservers", (MASTER,)))

    assert scene.did == ["apiservers master-1", "uncordon master-1"]


def test_nothing_is_touched_while_another_master_is_not_well(scene: Scene) -> None:
    scene.looks = [told("master-2", ready=False)]

    with pytest.raises(
        MachineError, match="stopped before master-1, which is as it was: the API server of master-2"
    ):
        scene.run(Step("cluster", (MASTER,)))
    assert scene.did == []


def test_a_node_without_another_that_takes_pods_is_not_drained(scene: Scene) -> None:
    nodes = {name: node for name, node in (WELL.nodes or {}).items() if name != "worker-2"}
    alone = replace(WELL, nodes=nodes)
    scene.looks = [alone, replace(new(WORKER.name), nodes=nodes)]

    scene.run(Step("cluster", (WORKER,)))

    assert scene.did == ["cluster worker-1", "uncordon worker-1"]


def test_a_node_that_cannot_be_emptied_takes_pods_again_and_is_not_deployed(scene: Scene) -> None:
    scene.held = (
        "worker-1: after 60 s there are still 1 pods: default/web (The disruption budget web needs 1)"
    )

    with pytest.raises(AsBefore, match="default/web"):
        scene.run(Step("cluster", (WORKER,)))
    assert scene.did == ["drain worker-1", "uncordon worker-1"]


def test_a_machine_whose_deploy_fails_goes_back_and_the_run_ends(scene: Scene) -> None:
    scene.failing = ("cluster",)
    scene.looks = [WELL, new(MASTER.name, restarts=9), WELL]

    with pytest.raises(
        AsBefore, match=r"stopped at master-1: .*failed; master-1 is back on package-aaa, and well"
    ):
        scene.run(Step("cluster", (MASTER,)))
    assert scene.did == ["drain master-1", "cluster master-1", "rollback master-1", "uncordon master-1"]


def test_a_machine_that_starts_and_falls_is_not_well_and_goes_back(scene: Scene) -> None:
    falling = [new(MASTER.name, restarts=count) for count in range(100)]
    scene.looks = [WELL, *falling]

    scene.after = WELL

    with pytest.raises(AsBefore, match="a unit was restarted since it was started; master-1 is back"):
        scene.run(Step("cluster", (MASTER,)))
    assert scene.did[-1] == "uncordon master-1"


def test_a_machine_that_is_not_well_after_going_back_takes_no_pods(scene: Scene) -> None:
    scene.failing = ("cluster",)
    broken = told(MASTER.name, new(MASTER.name), failed=("kubelet.service",))
    scene.looks = [WELL, broken]

    with pytest.raises(
        MachineError, match="master-1 is back on the release before, and not well: not running on"
    ):
        scene.run(Step("cluster", (MASTER,)))
    assert scene.did == ["drain master-1", "cluster master-1", "rollback master-1"]


def test_a_machine_that_ran_no_other_release_stays_as_it_is(scene: Scene) -> None:
    scene.failing = ("cluster",)
    scene.looks = [WELL]

    with pytest.raises(MachineError, match="it ran no other release before, so it stays as it is"):
        scene.run(Step("cluster", (MASTER,)))
    assert scene.did == ["drain master-1", "cluster master-1"]


def test_packages_are_told_to_the_deploy(scene: Scene) -> None:
    scene.packages = True

    scene.run(Step("cluster", (MASTER,)))

    assert scene.did[1] == "cluster packages=latest master-1"
