"""A container's image is pulled, or why not is said: policies, turns, how often, and waits between tries that failed."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from kybern.client.allowance import Allowance
from kybern.kubelet.convert import Image
from kybern.kubelet.cri import Runtime, RuntimeFailure
from kybern.kubelet.images import pull
from kybern.kubelet.images.providers import Providers
from kybern.kubelet.images.pull import Images, NoImage, most_at_once
from kybern.kubelet.images.pulls import Pulls
from kybern.kubelet.images.rights import Policy
from kybern.kubelet.settings import Settings
from kybern.kubelet.voice import Voice
from tests.unit.kubelet.making import NOW, container, pod


class Registry:
    """The runtime and the registry behind it. ``failing``: what every pull says; ``held``: pulls wait for it."""

    def __init__(self) -> None:
        self.there: set[str] = set()
        self.failing = ""
        self.broken = ""
        self.held = asyncio.Event()
        self.held.set()
        self.going = self.most = self.pulls = 0

    async def image(self, name: str) -> Image | None:
        if self.broken:
            raise RuntimeFailure(self.broken)
        return Image(name, (name,), (), 7, pinned=False) if name in self.there else None

    async def pull(self, name: str, _auth: Any, _sandbox: Any) -> None:
        self.pulls, self.going = self.pulls + 1, self.going + 1
        self.most = max(self.most, self.going)
        try:
            await self.held.wait()
        finally:
            self.going -= 1
        if self.failing:
            raise RuntimeFailure(self.failing)
        self.there.add(name)


class Node:
    """``said`` are the events, as type, reason and message."""

    def __init__(self, tmp_path: Path, at_once: int | None = 1, allowance: Allowance | None = None) -> None:
        self.registry = Registry()
        self.said: list[tuple[str, str, str]] = []
        voice = SimpleNamespace(container=lambda _pod, _container, *said: self.said.append(said))

        async def nobody(*_asked: Any) -> Any:
            raise AssertionError("there is no program to ask for")

        pulls = Pulls(tmp_path, Policy())
        pulls.load(())
        self.images = Images(
            cast("Runtime", self.registry), cast("Voice", voice), Providers((), nobody, nobody), at_once,
            pulls=pulls, allowance=allowance,
        )  # fmt: skip

    async def ensure(self, image: str = "busybox:1", policy: str = "IfNotPresent") -> str:
        """What was found, or why not: the reason and the message."""
        one = container("c", image=image, image_pull_policy=policy)
        self.said.clear()
        try:
            return (await self.images.ensure(pod(one), one, (), None)).id
        except NoImage as problem:
            return f"{problem.reason}: {problem}"


@pytest.fixture
def node(tmp_path: Path) -> Callable[..., Node]:
    return lambda *more, **others: Node(tmp_path, *more, **others)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[datetime]:
    """The time, as its last entry."""
    now = [NOW]
    monkeypatch.setattr(pull, "datetime", SimpleNamespace(now=lambda _zone=UTC: now[-1]))
    return now


async def test_policies_say_when_an_image_is_pulled(node: Callable[..., Node]) -> None:
    here = node()

    assert await here.ensure(policy="Never") == (
        'ErrImageNeverPull: Container image "busybox:1" is not present with pull policy of Never'
    )
    assert [reason for _type, reason, _message in here.said] == ["ErrImageNeverPull"]
    assert await here.ensure() == "busybox:1"
    assert [(kind, reason) for kind, reason, _message in here.said] == [
        ("Normal", "Pulling"),
        ("Normal", "Pulled"),
    ]
    assert here.said[1][2].startswith('Successfully pulled image "busybox:1" in ')
    assert here.said[1][2].endswith(" Image size: 7 bytes.")
    for policy in ("IfNotPresent", "Never"):
        assert await here.ensure(policy=policy) == "busybox:1"
        text = 'Container image "busybox:1" already present on machine and can be accessed by the pod'
        assert here.said == [("Normal", "Pulled", text)]
    assert here.registry.pulls == 1
    assert await here.ensure(policy="Always") == "busybox:1"
    assert here.registry.pulls == 2


async def test_a_pull_that_failed_is_tried_again_after_ever_longer_waits(
    node: Callable[..., Node], clock: list[datetime]
) -> None:
    here, waits = node(), []
    here.registry.failing = "no such host"

    for _try in range(7):
        assert await here.ensure() == "ErrImagePull: no such host"
        assert here.said == [
            ("Normal", "Pulling", 'Pulling image "busybox:1"'),
            ("Warning", "Failed", 'Failed to pull image "busybox:1": no such host'),
            ("Warning", "Failed", "Error: ErrImagePull"),
        ]
        wait = here.images.wait("u1")
        assert wait is not None
        waits.append(wait)
        clock.append(clock[-1] + timedelta(seconds=wait - 1))
        message = 'Back-off pulling image "busybox:1"'
        assert await here.ensure() == f"ImagePullBackOff: {message}: ErrImagePull: no such host"
        assert here.said == [("Normal", "BackOff", message)]
        clock.append(clock[-1] + timedelta(seconds=1))

    assert waits == [10, 20, 40, 80, 160, 300, 300]
    assert here.registry.pulls == 7
    here.registry.failing = ""
    assert await here.ensure() == "busybox:1"
    assert here.images.wait("u1") is None


@pytest.mark.parametrize(("at_once", "most"), [(1, 1), (2, 2), (None, 4)])
async def test_so_many_are_pulled_at_once(node: Callable[..., Node], at_once: int | None, most: int) -> None:
    here = node(at_once)
    here.registry.held.clear()

    pulls = [asyncio.create_task(here.ensure(f"busybox:{number}")) for number in range(4)]
    async with asyncio.timeout(30):
        while here.registry.going < most:
            await asyncio.sleep(0)
    here.registry.held.set()
    found = await asyncio.gather(*pulls)

    assert found == [f"busybox:{number}" for number in range(4)]
    assert here.registry.most == most


@pytest.mark.parametrize(
    ("settings", "most"),
    [
        (Settings(), 1),
        (Settings(serialize_pulls=False), None),
        (Settings(serialize_pulls=False, parallel_pulls=3), 3),
    ],
)
def test_the_configuration_says_how_many(settings: Settings, most: int | None) -> None:
    assert most_at_once(settings) == most


async def test_pulls_beyond_the_allowance_wait_as_failed_ones_do(node: Callable[..., Node]) -> None:
    here = node(allowance=Allowance(0.001, 1))

    assert await here.ensure("busybox:1") == "busybox:1"
    assert await here.ensure("busybox:2") == "ErrImagePull: pull QPS exceeded"
    assert here.registry.pulls == 1
    assert (await here.ensure("busybox:2")).startswith("ImagePullBackOff: ")


async def test_a_runtime_that_does_not_know_and_a_name_that_is_none_are_told(
    node: Callable[..., Node],
) -> None:
    here = node()
    here.registry.broken = "it is ill"

    text = 'Failed to inspect image "busybox:1": it is ill'
    assert await here.ensure() == f"ImageInspectError: {text}"
    assert here.said == [("Warning", "InspectFailed", text)]
    assert (await here.ensure("Busybox")).startswith("InvalidImageName: ")
    assert here.said[0][1] == "InspectFailed"
