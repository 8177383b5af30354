"""A machine that is reset: nothing of ours is left in its kernel, all that is an operator's, and SSH never drops."""

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Thread

from kybern.machines.state import State
from tests.cluster.conftest import TOPOLOGY, Lab
from tests.cluster.kernel_state import FOREIGN, FOREIGN_AWAY, LOOK, foreign, ours
from tests.cluster.pods import Place, server

VICTIM = "worker-2"
EVERY = 0.2  # seconds between two signs of life


@dataclass
class Line:
    """An SSH session that is open all the time. ``silent``: the longest time without a sign of life, in seconds."""

    heard: int = 0
    silent: float = 0.0
    ended: list[int] = field(default_factory=list)


@contextmanager
def held(lab: Lab, machine: str) -> Iterator[Line]:
    """A connection of its own: it shares none with the commands of the test."""
    found = Line()
    config = State.of(lab.cluster.name).ssh_config
    alone = ["-o", "ControlMaster=no", "-o", "ControlPath=none"]
    talk = f"while echo here; do sleep {EVERY}; done"
    with subprocess.Popen(
        ["ssh", "-F", str(config), *alone, machine, talk], stdout=subprocess.PIPE, text=True
    ) as running:
        assert running.stdout is not None, "a pipe was asked for"
        stream = running.stdout

        def hear() -> None:
            last = time.monotonic()
            for _ in stream:
                now = time.monotonic()
                found.silent, last = max(found.silent, now - last), now
                found.heard += 1

        thread = Thread(target=hear)
        thread.start()
        try:
            yield found
        finally:
            if (code := running.poll()) is not None:
                found.ended.append(code)
            running.terminate()
            thread.join(10)


def test_a_reset_takes_all_of_ours_and_nothing_else_and_ssh_stays(lab: Lab, namespace: str) -> None:
    busy = server("busy", VICTIM, ports=[{"containerPort": 8080, "hostPort": 54321}])
    busy["metadata"]["annotations"] = {
        "kubernetes.io/ingress-bandwidth": "10M",
        "kubernetes.io/egress-bandwidth": "10M",
    }
    Place.made(lab, namespace).run(busy)
    lab.ssh(VICTIM, " && ".join(FOREIGN))
    try:
        before = lab.ssh(VICTIM, LOOK)
        with held(lab, VICTIM) as line:
            # Not by "kybern remove", which empties the node first: its pods run.
            lab.pyinfra(Path(f"inventories/{TOPOLOGY}.py"), "deploys/reset.py", "--limit", VICTIM)
            after = lab.ssh(VICTIM, LOOK)
            lab.kybern("deploy", TOPOLOGY)
            again = lab.ssh(VICTIM, LOOK)
    finally:
        lab.ssh(VICTIM, "; ".join(FOREIGN_AWAY))

    assert len(ours(before)) > 100, "there was something to take away"
    assert ours(after) == []
    assert len(foreign(before)) > len(FOREIGN) / 2
    assert foreign(after) == foreign(before)
    assert foreign(again) == foreign(before)
    print(f"SSH heard {line.heard} times, silent for {line.silent:.1f} s at most")  # noqa: T201
    assert line.ended == []
    assert line.heard > 20
    assert line.silent < 3
    lab.eventually("all nodes ready", lambda: len(lab.nodes_ready()) == len(lab.cluster.machines))
