"""A disk without room, where no real one is needed to show what comes of it."""

import asyncio
import errno
import gzip
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Never, cast

import pytest

from kybern.kubelet import agent as agents
from kybern.kubelet import grants
from kybern.kubelet.agent import Agent
from kybern.kubelet.allotment import Allotment
from kybern.kubelet.rotation import Rotator
from kybern.kubelet.settings import Settings
from kybern.kubelet.status import Verdict
from kybern.kubelet.surroundings import Surroundings
from kybern.kubelet.topology.alignment import Alignment, _Hands
from kybern.kubelet.topology.hints import Numa
from kybern.kubelet.topology.merge import Policy
from tests.unit.kubelet.making import pod

NOBODY: Any = None
NOTHING: Any = SimpleNamespace(given=())


def full(*_given: object, **_more: object) -> Never:
    raise OSError(errno.ENOSPC, "No space left on device")


async def test_logs_are_set_aside_and_go_where_nothing_can_be_packed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rotation is what makes room: it must not wait for room itself."""
    path, reopened = tmp_path / "0.log", list[str]()

    async def reopen(identity: str) -> None:
        reopened.append(identity)
        path.write_text("new")

    here = SimpleNamespace(runtime=SimpleNamespace(reopen_log=reopen))
    rotator = Rotator(cast("Agent", None), cast("Surroundings", here), Settings(log_max_files=3))
    monkeypatch.setattr(gzip, "open", full)
    path.write_text("0")
    for _turn in range(5):
        await rotator._rotate(path, "c1")
        path.write_text(f"{_turn + 1}")

    assert reopened == ["c1"] * 5
    assert sorted(found.read_text() for found in tmp_path.iterdir()) == ["3", "4", "5"]


async def test_a_worker_that_failed_is_started_with_its_verdict(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pod that was evicted does not run again because its worker fell over something."""
    agent, started = Agent(NOBODY, NOBODY, NOBODY, NOBODY, ()), list[Any]()
    verdict = Verdict("Evicted", "the node was low on resource: memory")
    worker = SimpleNamespace(
        pod=pod(),
        static=False,
        gone=False,
        followed=False,
        verdict=verdict,
        run=lambda: asyncio.to_thread(full),
    )
    agent.workers["u1"] = cast("Any", (worker, None))
    monkeypatch.setattr(agent, "start", lambda of, **more: started.append((of, more)))
    monkeypatch.setattr(agents, "_AFTER_FAILURE", 0.0)

    await agent._live(cast("Any", worker), ())

    assert started == [(worker.pod, {"gone": False, "verdict": verdict})]


async def test_a_grant_that_could_not_be_written_was_not_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    allotment = Allotment(tmp_path / "u1", cast("Any", None), lambda _pod: None)
    with monkeypatch.context() as patched:
        patched.setattr(grants, "replace_file", full)
        with pytest.raises(OSError, match="No space left"):
            await allotment.consider(pod())

    await allotment.consider(pod())

    assert (tmp_path / "u1/resources.json").exists()


async def test_a_pod_whose_cpus_cannot_be_written_down_is_refused_and_has_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    freed = list[str]()

    def giver(name: str) -> Any:
        async def release(_uid: str) -> None:
            freed.append(name)
            full()

        async def keep(*_given: object) -> None:
            full()

        return SimpleNamespace(
            hand=lambda *_given: SimpleNamespace(given=()), take=lambda *_given: None, keep=keep, release=release,
            available=frozenset(), allocatable=frozenset(), exclusive=0, by_node={}, whole_cores=False,
            under_one_cache=lambda _given: True,
        )  # fmt: skip

    alignment = Alignment(giver("devices"), giver("cpus"), giver("memory"), Policy(), Numa())
    found = _Hands(None, NOTHING, None)
    monkeypatch.setattr(alignment, "_allotted", lambda _pod: asyncio.sleep(0, found))

    verdict = await alignment.admit(pod())

    why = "cannot write down what the pod was given: [Errno 28] No space left on device"
    assert verdict == Verdict(
        "UnexpectedAdmissionError", f"Allocate failed due to {why}, which is unexpected"
    )
    assert freed == ["devices", "cpus", "memory"], "each of them, though none could be written down"


async def test_a_mirror_pod_that_nobody_took_is_offered_again(monkeypatch: pytest.MonkeyPatch) -> None:
    agent, offered = Agent(NOBODY, NOBODY, NOBODY, SimpleNamespace(node=object()), ()), asyncio.Event()  # type: ignore[arg-type]
    agent.sources.api = True
    agent._static = {"u1": pod()}
    answers = iter((False, True))

    async def show(*_given: object) -> bool:
        taken = next(answers)
        if taken:
            offered.set()
        return taken

    monkeypatch.setattr("kybern.kubelet.static.show", show)
    monkeypatch.setattr(agents, "_MIRROR_AGAIN", 0.01)
    agent._mirror_work.set()
    keeping = asyncio.create_task(agent._keep_mirrors(NOBODY))
    async with asyncio.timeout(30):
        await offered.wait()

    keeping.cancel()
    await asyncio.gather(keeping, return_exceptions=True)
