"""What pods use is told whole while one of them ends."""

from typing import Any, cast

import pytest

from kybern._proto import cri_pb2 as pb
from kybern.kubelet.cri import Runtime, RuntimeFailure
from kybern.kubelet.stats.asking import Asking


class Fake:
    """A runtime whose sandboxes use so much; ``ending`` ones fail, and so does whoever asks for all then."""

    def __init__(self, **uses: int) -> None:
        self.uses = uses
        self.ending: set[str] = set()
        self.down = False

    async def call(self, method: str, request: Any) -> Any:
        if self.down or (method == "ListPodSandboxStats" and self.ending):
            raise RuntimeFailure("failed to decode sandbox container metrics")
        if method == "ListPodSandboxStats":
            return pb.ListPodSandboxStatsResponse(stats=[self._stats(name) for name in self.uses])
        if method == "ListPodSandbox":
            assert request.filter.state.state == pb.SANDBOX_READY
            return pb.ListPodSandboxResponse(items=[pb.PodSandbox(id=name) for name in self.uses])
        if request.pod_sandbox_id in self.ending:
            raise RuntimeFailure("task is gone")
        return pb.PodSandboxStatsResponse(stats=self._stats(request.pod_sandbox_id))

    def _stats(self, name: str) -> Any:
        used = pb.LinuxPodSandboxStats(
            process=pb.ProcessUsage(process_count=pb.UInt64Value(value=self.uses[name]))
        )
        return pb.PodSandboxStats(attributes=pb.PodSandboxAttributes(id=name), linux=used)


async def counts(asking: Asking) -> dict[str, int]:
    return {one.attributes.id: one.linux.process.process_count.value for one in await asking.all()}


async def test_one_that_ends_counts_as_it_was_and_the_rest_as_they_are() -> None:
    runtime = Fake(a=1, b=2)
    asking = Asking(cast("Runtime", runtime))
    assert await counts(asking) == {"a": 1, "b": 2}

    runtime.uses, runtime.ending = {"a": 10, "b": 20, "c": 3}, {"b"}
    assert await counts(asking) == {"a": 10, "b": 2, "c": 3}

    runtime.ending = {"b", "c"}
    del runtime.uses["a"]
    assert await counts(asking) == {"b": 2, "c": 3}


async def test_one_that_never_answered_is_left_out() -> None:
    runtime = Fake(a=1, b=2)
    runtime.ending = {"b"}

    assert await counts(Asking(cast("Runtime", runtime))) == {"a": 1}


async def test_a_runtime_that_does_not_answer_is_told() -> None:
    runtime = Fake(a=1)
    runtime.down = True

    with pytest.raises(RuntimeFailure):
        await Asking(cast("Runtime", runtime)).all()
