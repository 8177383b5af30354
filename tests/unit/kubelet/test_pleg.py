"""How long a runtime may be silent, and what is said of it then."""

from typing import cast

import pytest

from kybern.kubelet.cri import Runtime, RuntimeFailure
from kybern.kubelet.pleg import Watcher

type Found = dict[str, tuple[frozenset[tuple[str, int]], str, str]]


class Fake:
    """A runtime with what pods it is given; without any it hangs, as far as a caller can tell."""

    def __init__(self, found: Found | None) -> None:
        self.found = found

    async def all(self) -> Found:
        if self.found is None:
            raise RuntimeFailure("rpc error: code = DeadlineExceeded", "DEADLINE_EXCEEDED")
        return self.found


@pytest.mark.parametrize(
    ("silent", "spelled"), [(180.0, "3m0s"), (185.4, "3m5s"), (3600.0, "1h0m0s"), (7325.0, "2h2m5s")]
)
async def test_a_runtime_that_hangs_is_told_after_three_minutes_until_it_answers(
    silent: float, spelled: str
) -> None:
    now = 0.0
    runtime = Fake({})
    watcher = Watcher(
        cast("Runtime", runtime), lambda _uid: None, lambda _uid, _space, _name: None, lambda: now
    )
    await watcher.look()

    runtime.found, now = None, 179.9
    with pytest.raises(RuntimeFailure):
        await watcher.look()
    assert watcher.problem == ""

    now = silent
    with pytest.raises(RuntimeFailure):
        await watcher.look()
    text = f"PLEG is not healthy: pleg was last seen active {spelled} ago; threshold is 3m0s"
    assert watcher.problem == text

    runtime.found = {}
    await watcher.look()
    assert watcher.problem == ""


async def test_pods_are_woken_by_what_changed_of_them() -> None:
    woken: list[str] = []
    ran, ended = frozenset({("c", 1)}), frozenset({("c", 2)})
    runtime = Fake({"u": (ran, "n", "p"), "v": (ran, "n", "q")})
    watcher = Watcher(cast("Runtime", runtime), woken.append, lambda _uid, _space, _name: None)
    await watcher.look()
    woken.clear()

    runtime.found = {"u": (ended, "n", "p"), "v": (ran, "n", "q")}
    await watcher.look()
    assert woken == ["u"]

    runtime.found = {"u": (ended, "n", "p")}
    await watcher.look()
    assert woken == ["u", "v"]
