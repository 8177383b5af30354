"""A rotation of keys, step by step, and stopped anywhere: no API server ever meets a secret that it cannot read."""

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kybern.machines.encryption import KMS, NONE, PLAIN, Key, Order, new_key
from kybern.machines.rotation.encryption import (
    _BEGINNINGS,
    Await,
    Rest,
    Rewrite,
    Seen,
    Ship,
    Step,
    Write,
    digest,
    next_step,
    question,
    told,
)
from tests.unit.machines.test_certificates import CLUSTER

MASTERS = ("m1", "m2", "m3")


def make(provider: str, known: Order) -> Key:
    return new_key(provider, known, random=bytes, endpoint="unix:///run/kms/a.sock")


ONE = make("aesgcm", ())
TWO = make("aesgcm", (ONE,))
OTHER = make("secretbox", (ONE,))
SERVED = make(KMS, (ONE,))
AGAIN = make("aesgcm", (SERVED,))


def seen(order: Order, *stored: Key, shipped: str | None = None, loaded: str | None = None) -> Seen:
    wanted = digest(order)
    return Seen(
        order,
        {"m1": wanted, "m2": wanted if shipped is None else shipped},
        {"m1": wanted, "m2": wanted if loaded is None else loaded},
        {f"/registry/secrets/a/{at}": key.prefix for at, key in enumerate(stored)},
    )


@pytest.mark.parametrize(
    ("found", "provider", "step"),
    [
        (seen((ONE, PLAIN), ONE, shipped=""), "aesgcm", Ship(("m2",))),
        (seen((ONE, PLAIN), ONE, loaded="sha256:old"), "aesgcm", Await(("m2",))),
        (seen((ONE, PLAIN), ONE), "aesgcm", (ONE, TWO, PLAIN)),
        (seen((ONE, TWO, PLAIN), ONE), "aesgcm", (TWO, ONE, PLAIN)),
        (seen((TWO, ONE, PLAIN), ONE, TWO, PLAIN), "aesgcm", Rewrite(("/registry/secrets/a/0", "/registry/secrets/a/2"))),
        (seen((TWO, ONE, PLAIN), TWO, TWO), "aesgcm", (TWO, PLAIN)),
        (seen((PLAIN, ONE), PLAIN), "aesgcm", (ONE, PLAIN)),
        (seen((ONE, PLAIN), PLAIN), "aesgcm", Rewrite(("/registry/secrets/a/0",))),
        (seen((), PLAIN), "aesgcm", (PLAIN, ONE)),
        (seen((PLAIN,), PLAIN), "aesgcm", (PLAIN, ONE)),
        (seen((ONE, PLAIN), ONE), "secretbox", (ONE, OTHER, PLAIN)),
        (seen((ONE, PLAIN), ONE), KMS, (ONE, SERVED, PLAIN)),
        (seen((ONE, SERVED, PLAIN), ONE), KMS, (SERVED, ONE, PLAIN)),
        (seen((SERVED, ONE, PLAIN), ONE, SERVED), KMS, Rewrite(("/registry/secrets/a/0",))),
        (seen((SERVED, ONE, PLAIN), SERVED), KMS, (SERVED, PLAIN)),
        (seen((SERVED, PLAIN), SERVED), "aesgcm", (SERVED, AGAIN, PLAIN)),
        (seen((ONE, PLAIN), ONE), NONE, (PLAIN, ONE)),
        (seen((ONE, TWO, PLAIN), ONE), NONE, (PLAIN, ONE, TWO)),
        (seen((PLAIN, ONE), ONE), NONE, Rewrite(("/registry/secrets/a/0",))),
        (seen((PLAIN, ONE), PLAIN), NONE, (PLAIN,)),
        (seen((PLAIN,), PLAIN), NONE, Rest()),
        (seen((), PLAIN), NONE, Rest()),
    ],
)  # fmt: skip
def test_what_comes_next(found: Seen, provider: str, step: Step | Order) -> None:
    decided = next_step(found, provider, make)

    assert (decided.order if isinstance(decided, Write) else decided) == step


def test_only_a_dropped_key_is_kept_aside_and_only_a_new_one_begins() -> None:
    begun = next_step(seen((ONE, PLAIN), ONE), "aesgcm", make)
    turned = next_step(seen((ONE, TWO, PLAIN), ONE), "aesgcm", make)
    dropped = next_step(seen((TWO, ONE, PLAIN), TWO), "aesgcm", make)

    assert [(one.begins, one.drops) for one in (begun, turned, dropped) if isinstance(one, Write)] == [
        (True, False),
        (False, False),
        (False, True),
    ]


@dataclass
class World:
    """Masters with their files and servers, and what lies in etcd. Nothing happens by itself but through ``event``."""

    order: Order
    files: dict[str, Order]
    loaded: dict[str, Order]
    stored: dict[str, Key] = field(default_factory=dict)

    @classmethod
    def at_rest(cls, order: Order) -> "World":
        return cls(order, dict.fromkeys(MASTERS, order), dict.fromkeys(MASTERS, order), {"a": order[0]})

    def seen(self) -> Seen:
        return Seen(
            self.order,
            {name: digest(order) for name, order in self.files.items()},
            {name: digest(order) for name, order in self.loaded.items()},
            {name: key.prefix for name, key in self.stored.items()},
        )

    def check(self) -> None:
        """Every server reads every secret."""
        for server, order in self.loaded.items():
            assert set(self.stored.values()) <= set(order), server

    def event(self, number: int) -> None:
        """One of what may come in between: a deploy to one master, a server that reads its file, a client that writes."""
        master = MASTERS[number % 3]
        kind = number // 3 % 3
        if kind == 0:
            self.files[master] = self.order
        elif kind == 1:
            self.loaded[master] = self.files[master]
        else:
            self.stored[f"new-{number}"] = self.loaded[master][0]
        self.check()

    def act(self, step: Step, event: Callable[[], None]) -> None:
        """A step of the run. After each of its parts something else happens, and there it may be interrupted."""
        match step:
            case Ship(names):
                for name in names:
                    self.files[name] = self.order
                    event()
            case Await(names):
                for name in names:
                    self.loaded[name] = self.files[name]
                    event()
            case Write(order):
                self.order = order
                event()
            case Rewrite(keys):
                for key in keys:
                    self.stored[key] = self.loaded[MASTERS[len(key) % 3]][0]
                    event()
        self.check()


class Interrupted(Exception):
    pass


MOMENTS = st.integers(1, 40)


@pytest.mark.parametrize("provider", ["aesgcm", "secretbox", NONE])
@given(
    order=st.sampled_from([(ONE, PLAIN), (PLAIN, ONE), (PLAIN,)]),
    interrupted=st.sets(MOMENTS, max_size=4),
    events=st.dictionaries(MOMENTS, st.integers(0, 17), max_size=8),
)
@settings(max_examples=100, deadline=None)
def test_interrupted_anywhere_it_ends_where_it_should(
    provider: str, order: Order, interrupted: set[int], events: dict[int, int]
) -> None:
    world, moment = World.at_rest(order), 0

    def between() -> None:
        nonlocal moment
        moment += 1
        if moment in events:
            world.event(events[moment])
        if moment in interrupted:
            raise Interrupted

    begun = False
    for _ in range(100):
        step = next_step(world.seen(), provider, make)
        if isinstance(step, Rest) or (isinstance(step, Write) and step.begins and begun):
            break
        begun = begun or isinstance(step, Write)
        try:
            world.act(step, between)
        except Interrupted:
            continue

    assert len(world.order) == (1 if provider == NONE else 2)
    assert {key.provider for key in world.stored.values()} == {"identity" if provider == NONE else provider}
    assert set(world.loaded.values()) == {world.order}


def test_a_run_without_interruption_has_these_steps() -> None:
    world, steps = World.at_rest((ONE, PLAIN)), list[str]()
    while len(steps) < 20:
        step = next_step(world.seen(), "aesgcm", make)
        if isinstance(step, Write) and step.begins and steps:
            break
        steps.append(type(step).__name__)
        world.act(step, lambda: None)

    assert steps == [
        "Write", "Ship", "Await", "Write", "Ship", "Await", "Rewrite", "Write", "Ship", "Await",
    ]  # fmt: skip
    assert world.order == (replace(TWO), PLAIN)


def test_the_beginning_of_each_value_is_told_and_no_more() -> None:
    def pair(name: str, value: bytes) -> dict[str, str]:
        from base64 import b64encode

        return {
            "key": b64encode(f"/registry/secrets/a/{name}".encode()).decode(),
            "value": b64encode(value).decode(),
        }

    listed = {
        "kvs": [
            pair("sealed", b"k8s:enc:aesgcm:v1:key-2:\x00\xff:pre:cious"),
            pair("plain", b'{"kind":"Secret","data":"precious:::::"}'),
        ]
    }
    done = subprocess.run(
        [sys.executable, "-c", _BEGINNINGS],
        input=json.dumps(listed).encode(),
        capture_output=True,
        check=True,
    )
    text = done.stdout.decode()

    assert "cious" not in text
    assert told(text + "KYBERN counted\n").stored == {
        "/registry/secrets/a/sealed": "k8s:enc:aesgcm:v1:key-2:",
        "/registry/secrets/a/plain": "",
    }


@pytest.mark.parametrize(
    ("text", "answers", "serves", "loaded", "counted"),
    [
        ("", False, False, "", False),
        ("KYBERN shipped sha256:a\nKYBERN silent\n", True, False, "", False),
        ("KYBERN shipped sha256:a\nKYBERN loaded sha256:b\n", True, True, "sha256:b", False),
        ("KYBERN loaded \nKYBERN counted\n", True, True, "", True),
        ("KYBERN loaded sha256:b\nKYBERN stored /registry/secrets/a/b \n", True, True, "sha256:b", False),
    ],
)
def test_what_a_master_tells(text: str, *, answers: bool, serves: bool, loaded: str, counted: bool) -> None:
    found = told(text)

    assert (found.answers, found.serves, found.loaded, found.stored is not None) == (
        answers,
        serves,
        loaded,
        counted,
    )


@pytest.mark.parametrize("member", [True, False])
def test_the_question_is_a_script(*, member: bool) -> None:
    script = question(CLUSTER, "/etc/kubernetes/pki/encryption.yaml", member=member)

    assert subprocess.run(["bash", "-n"], input=script.encode(), check=True, timeout=10).returncode == 0
    assert ("etcdctl" in script) == member
