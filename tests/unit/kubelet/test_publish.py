"""What is told of a pod, and told again when somebody wrote over it."""

import asyncio
from typing import Any

import pytest

from kybern.api.core_v1 import Pod, PodCondition, PodStatus
from kybern.kubelet import publish
from kybern.kubelet.publish import Publisher, patch_of
from kybern.machinery.errors import ServiceUnavailable
from kybern.machinery.struct import replace
from tests.unit.kubelet.making import container, pod

READY = PodCondition(type="Ready", status="True")
UNREADY = PodCondition(type="Ready", status="False", reason="NodeNotReady")
DISTURBED = PodCondition(type="DisruptionTarget", status="True")


class Server:
    """Keeps the patches, and answers with the pod in its next version."""

    def __init__(self, held: Pod) -> None:
        self.held = held
        self.patches: list[dict[str, Any]] = []

    async def patch_raw(self, _kind: type[Pod], _ns: str, _name: str, body: Any, *_: str) -> Pod:
        self.patches.append(body["status"])
        return self.write(self.held.status)

    def write(self, status: PodStatus) -> Pod:
        """Somebody writes."""
        version = str(int(self.held.metadata.resource_version) + 1)
        self.held = replace(
            self.held, status=status, metadata=replace(self.held.metadata, resource_version=version)
        )
        return self.held


def at_version(version: int, *conditions: PodCondition) -> Pod:
    made = pod(container("c"))
    return replace(
        made,
        metadata=replace(made.metadata, resource_version=str(version)),
        status=PodStatus(phase="Running", conditions=conditions),
    )


async def sent(publisher: Publisher) -> None:
    """Until what waits is sent."""
    task = asyncio.create_task(publisher.run())
    async with asyncio.timeout(30):
        await publisher.flushed(at_version(1).metadata.uid)
    task.cancel()


async def told(*conditions: PodCondition) -> tuple[Server, Publisher, PodStatus]:
    server = Server(at_version(7))
    publisher = Publisher(server)  # type: ignore[arg-type]
    status = replace(server.held.status, conditions=conditions)
    publisher.tell(server.held, status)
    await sent(publisher)
    return server, publisher, status


async def test_the_same_is_not_told_twice_not_even_to_an_older_state_of_the_pod() -> None:
    server, publisher, status = await told(READY)

    publisher.tell(at_version(7), status)
    await sent(publisher)

    assert [patch["conditions"][0]["type"] for patch in server.patches] == ["Ready"]


async def test_what_came_back_as_it_was_told_is_not_overwritten() -> None:
    server, publisher, status = await told(READY)

    assert not publisher.overwritten(server.write(status))


async def test_what_somebody_wrote_over_is_told_again() -> None:
    """The node controller calls the pods of a silent node unready."""
    server, publisher, status = await told(READY)
    theirs = server.write(replace(status, conditions=(UNREADY,)))

    assert publisher.overwritten(theirs)
    publisher.tell(theirs, status)
    await sent(publisher)

    assert server.patches[-1]["conditions"] == [{"type": "Ready", "status": "True", "reason": None}], (
        "no word of it stays"
    )


class Away(Server):
    """Answers nobody for the first tries."""

    tries = 3

    async def patch_raw(self, kind: type[Pod], ns: str, name: str, body: Any, *more: str) -> Pod:
        if self.tries:
            self.tries -= 1
            raise ServiceUnavailable("nobody answers")
        return await super().patch_raw(kind, ns, name, body, *more)


async def test_an_outage_is_told_at_its_beginning_and_its_end(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(publish, "_RETRY", 0.0)
    server = Away(at_version(7))
    publisher = Publisher(server)  # type: ignore[arg-type]
    publisher.tell(server.held, replace(server.held.status, conditions=(READY,)))

    with caplog.at_level("INFO"):
        await sent(publisher)

    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]
    assert len(server.patches) == 1


def test_a_condition_of_others_is_never_taken_away() -> None:
    old = PodStatus(conditions=(READY, DISTURBED))

    assert patch_of("u", old, PodStatus(conditions=(READY,))) is None


def test_a_condition_of_ours_that_is_over_is_taken_away() -> None:
    over = PodCondition(type="PodResizePending", status="True")

    found = patch_of("u", PodStatus(conditions=(READY, over)), PodStatus(conditions=(READY,)))

    assert found is not None
    assert found["status"]["conditions"] == [{"type": "PodResizePending", "$patch": "delete"}]
