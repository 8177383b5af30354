"""Images go when the disk that holds them is fuller than it may be, down to where it may be."""

import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from kybern.kubelet import collect
from kybern.kubelet.collect import Collector
from kybern.kubelet.convert import Image
from kybern.kubelet.settings import Settings
from kybern.kubelet.stats.use import FileSystem


class Node:
    """A disk of 1000 bytes with three images of 100; nobody uses the first two. ``used``: how much of it is."""

    def __init__(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.used, self.gone, self.said = 0, list[str](), list[tuple[str, str, str]]()
        self.images = tuple(
            Image(name, (name,), (), 100, pinned=False) for name in ("old:1", "old:2", "web:1")
        )
        monkeypatch.setattr(
            collect, "file_system", lambda _path: FileSystem(0.0, 1000 - self.used, 1000, 1, 1)
        )
        container: Any = SimpleNamespace(image="web:1")
        pod: Any = SimpleNamespace(spec=SimpleNamespace(volumes=()))
        monkeypatch.setattr(collect, "containers", lambda _pod: [(container, False)])
        here: Any = SimpleNamespace(
            runtime=SimpleNamespace(
                images=self._listed, remove_image=self._removed, image_directory=self._directory
            ),
            images=SimpleNamespace(prune=self._pruned),
            volumes=SimpleNamespace(root=tmp_path),
            voice=SimpleNamespace(node=lambda *said: self.said.append(said)),
        )
        agent: Any = SimpleNamespace(pods=lambda: [pod], workers={})
        settings = Settings(root_dir=str(tmp_path), image_high=85, image_low=80, image_min_age=0.0)
        self.collector = Collector(agent, here, settings)

    async def _pruned(self, _images: Any) -> None:
        return

    async def _listed(self) -> tuple[Image, ...]:
        return self.images

    async def _removed(self, name: str) -> None:
        self.gone.append(name)

    async def _directory(self) -> str:
        return ""

    async def look(self, used: int) -> list[str]:
        """What is removed of a disk of which so much is used."""
        self.used = used
        self.gone.clear()
        self.said.clear()
        # What was seen long ago is old enough.
        self.collector._last_used = {image.id: time.monotonic() - 10 for image in self.images}
        await self.collector._images()
        return list(self.gone)


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Node:
    return Node(tmp_path, monkeypatch)


async def test_only_beyond_the_high_mark_and_down_to_the_low_one(node: Node) -> None:
    assert await node.look(849) == []
    assert await node.look(850) == ["old:1"]
    assert await node.look(950) == ["old:1", "old:2"]
    assert node.said == []


async def test_what_is_in_use_stays_and_is_told_when_the_rest_does_not_do(node: Node) -> None:
    assert await node.look(1000 - 1) == ["old:1", "old:2"]
    assert node.said == []
    node.images = node.images[2:]
    assert await node.look(950) == []
    text = (
        "Failed to garbage collect required amount of images. Attempted to free 150 bytes, but only found 0 bytes "
        "eligible to free."
    )
    assert node.said == [("Warning", "FreeDiskSpaceFailed", text)]
