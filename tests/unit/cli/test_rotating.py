"""The run that exchanges the key of secrets, killed before, within and after each of its steps, and run again.

What decides is tested in ``machines/rotation``; here the run itself: its files, what it keeps aside, and where it goes on.
"""

import itertools
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from kybern.cli import rotating
from kybern.cli.rotating import Rotation
from kybern.machines import encryption
from kybern.machines.encryption import FILE, PLAIN, Key, Order, new_key
from kybern.machines.errors import MachineError
from kybern.machines.rotation.encryption import Seen, digest
from kybern.machines.secret_files import write_secret
from kybern.machines.topology import Cluster
from tests.unit.machines.test_certificates import CLUSTER

MASTERS = ("m1", "m2")
SECRETS = tuple(f"/registry/secrets/a/{name}" for name in "xyz")


class Killed(BaseException):
    """As by SIGKILL: nothing of the run catches it."""


@dataclass
class World:
    """Masters, their API servers, and secrets in etcd. ``moment`` counts what is done to them; one of them is the last."""

    pki: Path
    files: dict[str, Order]
    loaded: dict[str, Order]
    stored: dict[str, Key]
    dies_at: int = 0
    moment: int = 0
    unreadable: list[str] = field(default_factory=list)

    @classmethod
    def at_rest(cls, pki: Path) -> "World":
        first = new_key("aesgcm", ())
        order = (first, PLAIN)
        write_secret(pki / FILE, encryption.content(order))
        return cls(
            pki, dict.fromkeys(MASTERS, order), dict.fromkeys(MASTERS, order), dict.fromkeys(SECRETS, first)
        )

    def passes(self) -> None:
        """A moment in which the run may be killed; whatever it has come to, every server can read every secret."""
        for server, order in self.loaded.items():
            if not set(self.stored.values()) <= set(order):
                self.unreadable.append(f"{server} at {self.moment}")
        self.moment += 1
        if self.moment == self.dies_at:
            raise Killed

    @property
    def order(self) -> Order:
        return encryption.order((self.pki / FILE).read_bytes())


class Faked(Rotation):
    """The run, whose machines are the world's."""

    def __init__(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__("test", CLUSTER)
        self._world = world
        self._folder, self._path = world.pki, world.pki / FILE
        monkeypatch.setattr(rotating, "run_deploy", self._shipped)
        monkeypatch.setattr(rotating, "write_secret", self._written)
        # API servers read their files while the run waits for it.
        monkeypatch.setattr(self._patience, "wait", self._waited)

    async def _seen(self) -> Seen:
        self._world.passes()
        return Seen(
            self._world.order,
            {name: digest(order) for name, order in self._world.files.items()},
            {name: digest(order) for name, order in self._world.loaded.items()},
            {key: by.prefix for key, by in self._world.stored.items()},
        )

    def _shipped(self, _topology: str, _cluster: object, limit: tuple[str, ...], verb: str) -> int:
        assert verb == "certificates"
        for name in limit[1::2]:
            self._world.passes()
            self._world.files[name] = self._world.order
        return len(limit) // 2

    def _waited(self, _saying: str, _despair: str) -> None:
        for name in MASTERS:
            self._world.passes()
            self._world.loaded[name] = self._world.files[name]

    def _written(self, path: Path, content: bytes) -> None:
        self._world.passes()
        write_secret(path, content)
        self._world.passes()

    async def _rewrite(self, keys: tuple[str, ...]) -> None:
        for number, key in enumerate(keys):
            self._world.passes()
            self._world.stored[key] = self._world.loaded[MASTERS[number % 2]][0]


def test_killed_at_any_moment_it_is_finished_by_the_next_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for dies_at in itertools.count(1):
        world = World.at_rest(tmp_path / str(dies_at) / "pki")
        old = world.order[0]
        world.dies_at = dies_at
        try:
            Faked(world, monkeypatch).run()
            break
        except Killed:
            # Where all was done and only not told, nothing shows that a run was killed: the next one is a rotation.
            done = (
                world.order[0] != old
                and len(world.order) == 2
                and set(world.loaded.values()) == {world.order}
            )
            world.dies_at = 0
            Faked(world, monkeypatch).run()

        new = world.order[0]
        assert world.unreadable == []
        assert world.order == (new, PLAIN)
        assert new.number == old.number + (2 if done else 1), (
            "what was begun is finished, and no more is begun"
        )
        assert set(world.stored.values()) == {new}
        assert set(world.loaded.values()) == {world.order}
        # What opens an old snapshot: every key of that time, the dropped one among them.
        aside = encryption.order((world.pki / "dropped" / f"{old.name}.{FILE}").read_bytes())
        assert (len(aside), aside[1:]) == (3, (old, PLAIN))
    assert dies_at > 30, "each look, each ship to a master, each read by a server, each write was one"


def test_killed_twice_it_makes_no_key_that_has_the_name_of_a_dropped_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World.at_rest(tmp_path / "pki")
    first = world.order[0]
    for _ in range(2):
        Faked(world, monkeypatch).run()

    assert world.order[0].number == first.number + 2
    assert sorted(path.name for path in (world.pki / "dropped").iterdir()) == [
        f"key-1.{FILE}",
        f"key-2.{FILE}",
    ]


@pytest.mark.parametrize(
    ("cluster", "next_steps"),
    [
        (CLUSTER, ("ask 'journalctl -u kube-apiserver' there",)),
        (
            replace(CLUSTER, control_plane="pods", encryption="kms", kms="unix:///run/kms/plugin.sock"),
            ("see /var/log/pods/kube-system_kube-apiserver-", "listens at unix:///run/kms/plugin.sock"),
        ),
    ],
    ids=["units", "pods, kms"],
)
def test_a_server_that_never_reads_its_file_is_named_and_no_key_is_dropped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cluster: Cluster, next_steps: tuple[str, ...]
) -> None:
    world = World.at_rest(tmp_path / "pki")
    run = Faked(world, monkeypatch)

    def given_up(_saying: str, despair: str) -> None:
        raise MachineError(despair)

    monkeypatch.setattr(run._patience, "wait", given_up)

    monkeypatch.setattr(run, "_cluster", cluster)

    with pytest.raises(MachineError, match=r"the API server of m1, m2 has not taken .* over") as raised:
        run.run()

    assert all(step in str(raised.value) for step in next_steps), raised.value

    assert len([key for key in world.order if key != PLAIN]) == 2
    assert not (world.pki / "dropped").exists()
