"""What comes next when an authority is exchanged, and that no daemon ever meets a certificate that it cannot verify."""

import subprocess
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kybern.machines.rotation.trust import (
    Add,
    AwaitPods,
    Deploy,
    Drop,
    Later,
    Seen,
    Step,
    Told,
    Turn,
    next_step,
    question,
    told,
)
from kybern.machines.trust import Stage
from tests.unit.machines.test_certificates import MASTER, WORKER

CA = "/etc/kubernetes/pki/ca.crt"


def seen(stage: Stage, there: Told, *, deployed: bool = True, pods: str = "", droppable: bool = True) -> Seen:
    good = Told(True, {CA: "new"}, (), ("new",))
    wanted = {name: {CA: "new"} for name in ("m1", "m2")}
    return Seen(stage, wanted, {"m1": good, "m2": there}, deployed, pods, droppable)


GOOD = Told(True, {CA: "new"}, (), ("new",))


@pytest.mark.parametrize("stage", Stage)
@pytest.mark.parametrize(
    ("there", "step"),
    [
        (Told(True, {CA: "old"}), Deploy(("m2",))),
        (Told(True, {}), Deploy(("m2",))),
        (Told(True, {CA: "new"}, ("etcd.service",)), Deploy(("m2",))),
        (Told(True, {CA: "new"}, (), ("new", "old")), AwaitPods(("m2",))),
    ],
)
def test_nothing_moves_on_before_everybody_has_it(stage: Stage, there: Told, step: Step) -> None:
    assert next_step(seen(stage, there, pods="new")) == step


@pytest.mark.parametrize(
    ("found", "step"),
    [
        (seen(Stage.ADDED, GOOD, deployed=False), Deploy(())),
        (seen(Stage.REST, GOOD), Add()),
        (seen(Stage.ADDED, GOOD), Turn()),
        (seen(Stage.TURNED, GOOD), Drop()),
        (seen(Stage.TURNED, GOOD, droppable=False), Later()),
        (seen(Stage.ADDED, Told(True, {CA: "new"}, (), ("old",))), Turn()),
    ],
)
def test_the_order_of_steps(found: Seen, step: Step) -> None:
    assert next_step(found) == step


@dataclass
class Daemon:
    """What it trusts, and who signed what it presents."""

    trusted: frozenset[str] = frozenset({"old"})
    signer: str = "old"


@dataclass
class World:
    stage: Stage = Stage.REST
    current: str = "old"
    daemons: list[Daemon] = field(default_factory=lambda: [Daemon() for _ in range(4)])
    deployed: bool = False

    @property
    def trusted(self) -> frozenset[str]:
        return frozenset({"old", "new"}) if self.stage is not Stage.REST else frozenset({self.current})

    def deploy_to(self, at: int) -> None:
        """Files first, then a restart: what it trusts and what it presents follow one after the other."""
        self.daemons[at].trusted = self.trusted
        self.check()
        self.daemons[at].signer = self.current
        self.check()

    def check(self) -> None:
        signers = {one.signer for one in self.daemons}
        for one in self.daemons:
            assert signers <= one.trusted

    def seen(self) -> Seen:
        def digest(trusted: frozenset[str]) -> str:
            return "+".join(sorted(trusted))

        machines = {f"m{at}": Told(True, {CA: digest(one.trusted)}) for at, one in enumerate(self.daemons)}
        return Seen(
            self.stage, {key: {CA: digest(self.trusted)} for key in machines}, machines, self.deployed
        )


class Interrupted(Exception):
    pass


class Run:
    """Acts on the world; at some of its moments it is interrupted, or another operator deploys to a machine."""

    def __init__(self, world: World, interrupted: set[int], others: dict[int, int]) -> None:
        self.world, self.interrupted, self.others = world, interrupted, others
        self.moment = self.turns = 0

    def between(self) -> None:
        self.moment += 1
        if self.moment in self.others:
            self.world.deploy_to(self.others[self.moment])
        if self.moment in self.interrupted:
            raise Interrupted

    def act(self, step: Step) -> None:
        world = self.world
        if isinstance(step, Deploy):
            for at in range(len(world.daemons)):
                world.deploy_to(at)
                self.between()
            world.deployed = True
            return
        world.deployed = False
        if isinstance(step, Turn):
            world.stage, world.current, self.turns = Stage.TURNED, "new", self.turns + 1
        else:
            world.stage = Stage.ADDED if isinstance(step, Add) else Stage.REST
        self.between()


MOMENTS = st.integers(1, 30)


@given(
    interrupted=st.sets(MOMENTS, max_size=4), others=st.dictionaries(MOMENTS, st.integers(0, 3), max_size=6)
)
@settings(max_examples=150, deadline=None)
def test_interrupted_anywhere_everybody_believes_everybody(
    interrupted: set[int], others: dict[int, int]
) -> None:
    run = Run(World(), interrupted, others)
    world = run.world
    for _ in range(50):
        step = next_step(world.seen())
        if isinstance(step, Add) and world.current == "new":
            break
        try:
            run.act(step)
        except Interrupted:
            world.deployed = False

    assert run.turns == 1
    assert all(one == Daemon(frozenset({"new"}), "new") for one in world.daemons)


@pytest.mark.parametrize("machine", [MASTER, WORKER], ids=lambda one: one.name)
def test_the_question_is_a_script_and_its_answer_is_read(machine: object) -> None:
    script = question(machine, ("/etc/hostname", "/nowhere"))  # type: ignore[arg-type]  # a machine
    done = subprocess.run(["bash"], input=script.encode(), capture_output=True, check=True, timeout=20)
    found = told(done.stdout.decode())

    assert found.answers
    assert set(found.files or {}) <= {"/etc/hostname"}


def test_what_a_machine_tells() -> None:
    text = f"KYBERN file {CA} abc\nKYBERN stale etcd.service\nKYBERN pod b\nKYBERN pod a\nKYBERN pod b\nKYBERN end\n"

    assert told(text) == Told(True, {CA: "abc"}, ("etcd.service",), ("a", "b"))
    assert not told(text.removesuffix("KYBERN end\n")).answers
