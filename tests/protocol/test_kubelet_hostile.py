"""Pods that mean harm: what they do stays within them, and the node stays ready."""

import asyncio
import os
import socket
import ssl
import stat
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from kybern.api.core_v1 import Node
from kybern.client.connections import Connections
from kybern.kubelet.rotation import Rotator
from tests.protocol.containerd_bed import SLEEP, Bed, OneNode, clean, first, one_node, running, waits_for

pytestmark = [pytest.mark.containerd, pytest.mark.timeout(180)]

INSECURE = ssl._create_unverified_context()
MIB = 1024 * 1024


def ready(node: OneNode) -> bool:
    found = node.api.one(Node, "", "n1")
    return found is not None and {c.type: c.status for c in found.status.conditions}["Ready"] == "True"


async def test_a_long_line_is_one_line(bed: Bed, unused_tcp_port: int) -> None:
    script = f"head -c {MIB} /dev/zero | tr '\\0' x; echo; echo short; {SLEEP[2]}"
    async with (
        one_node(bed, port=unused_tcp_port) as node,
        aiohttp.ClientSession(connector=Connections()) as client,
    ):
        await node.add("long", {"name": "c", "command": ["sh", "-c", script]})
        await node.until("long", running)
        url = f"https://127.0.0.1:{unused_tcp_port}/containerLogs/default/long/c"
        lines: list[str] = []
        for _try in range(50):
            async with client.get(url, ssl=INSECURE) as answer:
                lines = (await answer.text()).split("\n")
            if len(lines) > 2:
                break
            await asyncio.sleep(0.1)
        async with client.get(f"{url}?limitBytes=10&timestamps=true", ssl=INSECURE) as answer:
            limited = await answer.text()

    assert [len(line) for line in lines] == [MIB, 5, 0]
    assert len(limited) == 10
    await clean(bed)


async def test_a_long_message_is_cut(node: OneNode) -> None:
    script = f"head -c {10 * MIB} /dev/zero | tr '\\0' x > /dev/termination-log; echo end >> /dev/termination-log; exit 3"
    await node.add("wordy", {"name": "c", "command": ["sh", "-c", script]}, restartPolicy="Never")

    pod = await node.until("wordy", lambda p: p.status.phase == "Failed")

    message = first(pod).state.terminated.message
    assert len(message) == 4096
    assert message.endswith("xend\n")


async def test_many_processes_stay_within_their_limit(bed: Bed) -> None:
    async with one_node(bed, pod_pids=40) as node:
        # The first process needs no other to go on.
        bomb = "sh -c 'while true; do sleep 1000 & done' & while :; do :; done"
        little = {"limits": {"cpu": "100m"}}
        await node.add("bomb", {"name": "c", "command": ["sh", "-c", bomb], "resources": little})
        await node.add("calm", {"name": "c", "command": SLEEP})
        calm = await node.until("calm", running)
        bombed = await node.until("bomb", running)
        await asyncio.sleep(2)

        files = Path("/sys/fs/cgroup").glob(f"**{bed.cgroup}/**/pod{bombed.metadata.uid}/pids.current")
        counts = [int(path.read_text()) for path in files]
        assert counts
        assert 20 < max(counts) <= 40
        assert await node.execute("calm", "echo", "well") == "well"
        assert first(calm).restart_count == 0
        assert ready(node)
    await clean(bed)


async def test_a_link_does_not_lead_out_of_a_volume(node: OneNode) -> None:
    shared: dict[str, Any] = {"name": "v", "mountPath": "/v"}
    await node.add(
        "leads-out",
        {"name": "c", "command": SLEEP, "volumeMounts": [{"name": "v", "mountPath": "/host", "subPath": "link"}]},
        initContainers=[
            {"name": "i", "image": "busybox:1.36", "command": ["ln", "-s", "/etc", "/v/link"], "volumeMounts": [shared]},
        ],
        volumes=[{"name": "v", "emptyDir": {}}],
    )  # fmt: skip

    pod = await node.until("leads-out", waits_for("CreateContainerConfigError"))

    assert 'subpath "link" not within volume path' in first(pod).state.waiting.message


async def test_whoever_follows_a_log_misses_nothing_when_it_is_set_aside(
    bed: Bed, unused_tcp_port: int
) -> None:
    script = "i=0; while [ $i -lt 300 ]; do echo line $i; i=$((i+1)); sleep 0.01; done"
    async with one_node(bed, port=unused_tcp_port, log_max_size="1Ki", log_max_files=10) as node:
        await node.add("counts", {"name": "c", "command": ["sh", "-c", script]}, restartPolicy="Never")
        await node.until("counts", lambda p: bool(p.status.container_statuses) and first(p).state.running)
        url = f"https://127.0.0.1:{unused_tcp_port}/containerLogs/default/counts/c?follow=true"
        rotator = Rotator(node.kubelet.agent, node.kubelet.here, node.kubelet.settings)

        async def read() -> str:
            async with (
                aiohttp.ClientSession(connector=Connections()) as client,
                client.get(url, ssl=INSECURE) as answer,
            ):
                return await answer.text()

        reading = asyncio.create_task(read())
        while not reading.done():
            await asyncio.sleep(1.05)
            await rotator.look()
        pod = node.pod("counts")
        assert pod is not None
        logs = bed.at / "logs" / f"default_counts_{pod.metadata.uid}" / "c"
        aside = [path.name for path in logs.iterdir()]

    assert reading.result().split("\n")[:-1] == [f"line {number}" for number in range(300)]
    assert len(aside) > 2
    await clean(bed)


async def test_last_words_of_many_containers_share_what_a_pod_may_say(node: OneNode) -> None:
    script = f"head -c {10 * MIB} /dev/zero | tr '\\0' x > /dev/termination-log"
    containers = [{"name": f"c{number}", "command": ["sh", "-c", script]} for number in range(4)]
    await node.add("wordy", *containers, restartPolicy="Never")

    pod = await node.until("wordy", lambda p: p.status.phase == "Succeeded", 60)

    states = [status.state for status in pod.status.container_statuses]
    lengths = [len(state.terminated.message) for state in states if state and state.terminated]
    assert lengths == [3072] * 4
    assert sum(lengths) == 12288


async def test_who_takes_all_memory_is_killed_alone(node: OneNode) -> None:
    hog = "trap '' TERM; x=x; while :; do x=$x$x; done"
    little = {"limits": {"memory": "20Mi"}}
    await node.add(
        "hog", {"name": "c", "command": ["sh", "-c", hog], "resources": little}, restartPolicy="Never"
    )
    await node.add("calm", {"name": "c", "command": SLEEP})

    hogged = await node.until("hog", lambda p: p.status.phase == "Failed", 60)
    calm = await node.until("calm", running)

    ended = first(hogged).state.terminated
    assert (ended.reason, ended.exit_code) == ("OOMKilled", 137)
    assert first(calm).restart_count == 0
    assert ready(node)


async def test_a_path_of_the_node_is_what_its_type_says(node: OneNode, tmp_path: Path) -> None:
    (tmp_path / "directory").mkdir()
    (tmp_path / "file").write_text("content")
    (tmp_path / "link").symlink_to(tmp_path / "directory")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "socket"))
        os.mknod(tmp_path / "character", stat.S_IFCHR | 0o600, os.makedev(1, 3))
        os.mknod(tmp_path / "block", stat.S_IFBLK | 0o600, os.makedev(7, 0))
        fits = {
            "none": ("", "made/by/us"), "directory": ("Directory", "directory"), "link": ("Directory", "link"),
            "made-directory": ("DirectoryOrCreate", "new"), "file": ("File", "file"),
            "made-file": ("FileOrCreate", "fresh"), "socket": ("Socket", "socket"),
            "character": ("CharDevice", "character"), "block": ("BlockDevice", "block"),
        }  # fmt: skip
        wrong = {
            "directory": ("Directory", "file", "is not a directory"), "file": ("File", "directory", "is not a file"),
            "missing": ("File", "missing", "is not a file"), "socket": ("Socket", "file", "is not a socket file"),
            "character": ("CharDevice", "block", "is not a character device"),
            "block": ("BlockDevice", "character", "is not a block device"),
            "made-directory": ("DirectoryOrCreate", "file", "is not a directory"),
            "made-file": ("FileOrCreate", "directory", "is not a file"),
        }  # fmt: skip
        volumes = [
            {"name": name, "hostPath": {"path": str(tmp_path / path), "type": kind}}
            for name, (kind, path) in fits.items()
        ]
        mounts = [{"name": name, "mountPath": f"/host/{name}"} for name in fits]
        await node.add("fits", {"name": "c", "command": SLEEP, "volumeMounts": mounts}, volumes=volumes)
        for name, (kind, path, _text) in wrong.items():
            volume = {"name": "v", "hostPath": {"path": str(tmp_path / path), "type": kind}}
            mounted = [{"name": "v", "mountPath": "/v"}]
            await node.add(
                f"wrong-{name}", {"name": "c", "command": SLEEP, "volumeMounts": mounted}, volumes=[volume]
            )

        def tells(text: str) -> Any:
            return lambda pod: ("FailedMount", text) in node.events(pod.metadata.name)

        await node.until("fits", running)
        kinds = await node.execute("fits", "sh", "-c", "stat -c '%n %F' /host/*")
        for name, (_kind, path, text) in wrong.items():
            told = f'MountVolume.SetUp failed for volume "v" : hostPath type check failed: {tmp_path / path} {text}'
            await node.until(f"wrong-{name}", tells(told))

    found = dict(line.removeprefix("/host/").split(" ", 1) for line in kinds.splitlines())
    assert found == {
        "none": "directory", "directory": "directory", "link": "directory", "made-directory": "directory",
        "file": "regular file", "made-file": "regular empty file", "socket": "socket",
        "character": "character special file", "block": "block special file",
    }  # fmt: skip
    assert ready(node)
