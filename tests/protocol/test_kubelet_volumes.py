"""Volumes as containers see them."""

import pytest

from tests.protocol.containerd_bed import SLEEP, OneNode, first, running, waits_for

pytestmark = [pytest.mark.containerd, pytest.mark.timeout(180)]


async def test_an_image_is_a_volume(node: OneNode) -> None:
    await node.add(
        "shows",
        {
            "name": "c", "command": SLEEP,
            "volumeMounts": [
                {"name": "files", "mountPath": "/files"}, {"name": "shell", "mountPath": "/shell"},
                {"name": "files", "mountPath": "/below", "subPath": "data"},
            ],
        },
        volumes=[
            {"name": "files", "image": {"reference": "files:1", "pullPolicy": "IfNotPresent"}},
            {"name": "shell", "image": {"reference": "busybox:1.36", "pullPolicy": "Never"}},
        ],
    )  # fmt: skip

    await node.until("shows", running)

    assert await node.execute("shows", "sh", "-c", "cat /files/data/*") == "lower\nupper"
    assert await node.execute("shows", "cat", "/below/upper") == "upper"
    assert "bin" in await node.execute("shows", "ls", "/shell")
    assert "Read-only file system" in await node.execute("shows", "touch", "/files/x")
    assert "Permission denied" in await node.execute("shows", "sh", "-c", "/shell/bin/busybox true")


async def test_an_image_of_a_volume_that_is_not_there_holds_the_container_up(node: OneNode) -> None:
    await node.add(
        "lacks",
        {"name": "c", "command": SLEEP, "volumeMounts": [{"name": "files", "mountPath": "/files"}]},
        volumes=[{"name": "files", "image": {"reference": "nosuch:1", "pullPolicy": "Never"}}],
    )

    pod = await node.until("lacks", waits_for("ErrImageNeverPull"))

    text = 'Container image "nosuch:1" is not present with pull policy of Never'
    assert first(pod).state.waiting.message == text
