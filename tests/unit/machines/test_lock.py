"""The lock: its scripts run for real on masters that are files, and a run that holds it, loses it, or is refused."""

import asyncio
import os
import re
import signal
import subprocess
import threading
from collections.abc import Callable
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

import pytest

from kybern.cli import holding as held
from kybern.machines import lock
from kybern.machines.errors import MachineError
from kybern.machines.lock import Answers, Claim
from kybern.machines.topology import Cluster, Machine

ANNE, BERT = Claim("aa", "anne@here (deploy)"), Claim("bb", "bert's (remove w1)")
NAMES = ("m1", "m2", "m3")


class Masters:
    """Masters that answer to the scripts of the lock; ``down`` ones do not."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.down: set[str] = set()

    def place(self, name: str) -> Path:
        return self.folder / f"{name}.lock"

    def run(self, name: str, script: str) -> str:
        if name in self.down:
            return ""
        here = script.replace(lock.PLACE, str(self.place(name)))
        done = subprocess.run(
            ["bash", "-s"], input=here, capture_output=True, text=True, timeout=20, check=False
        )
        return done.stdout

    def ask(self, script: str) -> Answers:
        return lock.read({name: self.run(name, script) for name in NAMES})


@pytest.fixture
def masters(tmp_path: Path) -> Masters:
    return Masters(tmp_path)


def test_the_first_one_has_it_and_the_second_one_is_told_whose_it_is(masters: Masters) -> None:
    assert masters.ask(lock.taking(ANNE)).is_ours
    assert masters.ask(lock.taking(ANNE)).is_ours  # it is kept by being taken anew

    answers = masters.ask(lock.taking(BERT))

    assert not answers.is_ours
    assert answers.is_another_s
    assert 0 < answers.held["anne@here (deploy)"] <= lock.EXPIRES
    assert "cannot work on lab: anne@here (deploy) does" in lock.refused("lab", answers)
    assert masters.place("m1").stat().st_mode & 0o777 == 0o600


def test_it_is_free_again_after_its_release_and_only_its_owner_releases_it(masters: Masters) -> None:
    masters.ask(lock.taking(ANNE))
    masters.ask(lock.releasing(BERT))
    assert not masters.ask(lock.taking(BERT)).is_ours

    masters.ask(lock.releasing(ANNE))

    assert masters.ask(lock.taking(BERT)).is_ours
    assert masters.ask(lock.taking(ANNE)).held.keys() == {"bert's (remove w1)"}


def test_it_ends_by_itself_when_nothing_is_heard_of_its_owner(masters: Masters) -> None:
    masters.ask(lock.taking(ANNE))
    for name in NAMES:
        token, until, owner = masters.place(name).read_text().splitlines()
        masters.place(name).write_text(f"{token}\n{int(until) - lock.EXPIRES - 1}\n{owner}\n")

    assert masters.ask(lock.taking(BERT)).is_ours
    assert masters.ask(lock.taking(ANNE)).is_another_s


def test_it_can_be_broken(masters: Masters) -> None:
    masters.ask(lock.taking(ANNE))

    assert masters.ask(lock.taking(BERT, breaking=True)).is_ours
    assert masters.ask(lock.taking(ANNE)).is_another_s


@pytest.mark.parametrize(("down", "ours"), [((), True), (("m1",), True), (("m1", "m2"), False)])
def test_more_than_half_of_the_masters_make_it(masters: Masters, down: tuple[str, ...], ours: bool) -> None:
    masters.down = set(down)

    answers = masters.ask(lock.taking(ANNE))

    assert answers.is_ours is ours
    assert ours or "1 of 3 machines with etcd gave the lock" in lock.refused("lab", answers)


def test_a_refusal_says_why_machines_did_not_answer(masters: Masters) -> None:
    masters.down = {"m1", "m2"}
    answers = masters.ask(lock.taking(ANNE))

    told = lock.refused("lab", answers, {"m2": "No route to host", "m1": "no answer within 30 s"})

    assert "(m1: no answer within 30 s; m2: No route to host)" in told
    assert "SSH" in told


def test_of_many_at_once_one_has_it(masters: Masters) -> None:
    claims = [Claim(f"{number:x}", f"owner {number}") for number in range(1, 9)]
    answers: list[str] = []

    def take(claim: Claim) -> None:
        answers.append(masters.run("m1", lock.taking(claim)))

    threads = [threading.Thread(target=take, args=(claim,)) for claim in claims]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sum(lock.TAKEN in text for text in answers) == 1
    assert sum("KYBERN held" in text for text in answers) == 7


def test_a_broken_file_is_nobody_s(masters: Masters) -> None:
    masters.place("m1").write_text("")
    assert lock.TAKEN in masters.run("m1", lock.taking(ANNE))


def test_a_token_is_a_number() -> None:
    with pytest.raises(ValueError, match="is no token"):
        Claim("$(reboot)", "x")


@pytest.fixture
def cluster(masters: Masters, monkeypatch: pytest.MonkeyPatch) -> Cluster:
    async def ask(_cluster: Cluster, script: str) -> Answers:
        return await asyncio.to_thread(masters.ask, script)

    monkeypatch.setattr(held, "ask", ask)
    roles = frozenset({"etcd", "control-plane"})
    machines = tuple(
        Machine(name, IPv4Address(f"10.1.0.{number}"), roles) for number, name in enumerate(NAMES, 1)
    )
    return Cluster("lab", IPv4Network("10.1.0.0/24"), IPv4Address("10.1.0.254"), None, machines)


def on_masters(masters: Masters) -> set[str]:
    return {masters.place(name).read_text().splitlines()[2] for name in NAMES if masters.place(name).exists()}


def test_a_verb_holds_it_and_gives_it_back(cluster: Cluster, masters: Masters) -> None:
    with held.holding(cluster, "deploy"):
        (owner,) = on_masters(masters)
        assert re.fullmatch(rf".+@.+ \(deploy, process {os.getpid()}, since \d\d:\d\d UTC\)", owner)
        with (
            pytest.raises(MachineError, match=r"cannot work on lab: .*deploy.*--break-lock"),
            held.holding(cluster, "remove w1"),
        ):
            pytest.fail("two hold it")
        assert on_masters(masters) == {owner}

    assert on_masters(masters) == set()


def work(cluster: Cluster, meanwhile: Callable[[], object]) -> None:
    """A run that goes on until something ends it."""
    with held.holding(cluster, "deploy"):
        meanwhile()
        threading.Event().wait(20)


@pytest.mark.usefixtures("interruptible")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_it_is_given_back_whatever_signal_ends_the_run(
    cluster: Cluster, masters: Masters, number: signal.Signals
) -> None:
    before = signal.getsignal(number)

    with pytest.raises(KeyboardInterrupt):
        work(cluster, lambda: os.kill(os.getpid(), number))

    assert on_masters(masters) == set()
    assert signal.getsignal(number) == before


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock, "EVERY", 0.05)


@pytest.mark.usefixtures("quick")
def test_a_run_whose_lock_is_broken_stops_and_leaves_the_other_s(cluster: Cluster, masters: Masters) -> None:
    with pytest.raises(MachineError, match=r"stopped, because the lock was lost: .* anne@here"):
        work(cluster, lambda: masters.ask(lock.taking(ANNE, breaking=True)))

    assert on_masters(masters) == {"anne@here (deploy)"}


@pytest.mark.usefixtures("quick")
def test_a_run_that_cannot_reach_the_masters_stops_before_the_lock_is_another_s(
    cluster: Cluster, masters: Masters, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lock, "EXPIRES", 1)
    with pytest.raises(MachineError, match=r"stopped, because the lock was lost: .*0 of 3 machines"):
        work(cluster, lambda: masters.down.update(NAMES))


@pytest.mark.usefixtures("quick")
def test_a_master_that_restarts_gets_the_lock_again(cluster: Cluster, masters: Masters) -> None:
    with held.holding(cluster, "deploy"):
        masters.place("m2").unlink()
        for _ in range(200):
            if masters.place("m2").exists():
                break
            threading.Event().wait(0.05)
        assert len(on_masters(masters)) == 1
        assert masters.place("m2").exists()


def test_one_master_is_a_majority_of_one() -> None:
    assert Answers(1, 1, 0, {}).is_ours
    assert not Answers(2, 1, 0, {}).is_ours
    assert Answers(0, 0, 0, {}).is_ours
    assert replace(Answers(3, 1, 2, {}), refused=1).is_another_s is False
