"""kubelet and containerd killed at the very moments that leave something behind, on a real containerd."""

import json
import os
import subprocess
import tempfile
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest

from kybern._proto import cri_pb2 as pb
from kybern._proto import tasks_pb2 as own
from kybern._proto import tasks_pb2_grpc as own_rpc
from kybern.api.core_v1 import Node
from kybern.kubelet.collect import Collector
from kybern.kubelet.cri import Runtime, RuntimeFailure
from kybern.kubelet.leftovers.network import Networks
from kybern.kubelet.leftovers.removal import Task, remove_container
from kybern.kubelet.runtime import RunState
from kybern.machinery.errors import ServiceUnavailable
from tests.protocol.containerd_bed import (
    KINDS,
    SLEEP,
    Api,
    Bed,
    OneNode,
    clean,
    first,
    needed,
    one_node,
    running,
)
from tests.protocol.freezing import frozen
from tests.protocol.pods_bed import until

pytestmark = [pytest.mark.containerd, pytest.mark.timeout(240)]

# Tells that it began, and waits until it is told to go on; a plugin that adds nothing of its own.
SLOW = """#!/bin/sh
content=$(cat)
if [ "$CNI_COMMAND" = ADD ]; then
  echo $$ >>{at}/slow.begun
  while [ ! -e {at}/slow.go ]; do sleep 0.05; done
  printf '%s' "$content" | sed 's/.*"prevResult"://; s/,"type":"slow"}}$//'
fi
"""
# Cannot start a container, and cannot end what was not started.
HELPLESS = """#!/bin/sh
case " $* " in *" start "*|*" kill "*) exit 1;; esac
exec {runc} "$@"
"""


@pytest.fixture(scope="module")
def bed() -> Iterator[Bed]:
    """One whose network namespaces are its own, so that nothing of others is looked at."""
    found = Bed(Path(tempfile.mkdtemp(prefix="kb-")), needed(), own_namespaces=True)
    found.start()
    yield found
    found.stop()


def namespaces(bed: Bed) -> set[str]:
    return {path.name for path in bed.namespaces.iterdir()}


def addresses(bed: Bed) -> set[str]:
    return {path.name for path in (bed.at / "ipam/bed").iterdir() if path.name[0].isdecimal()}


@asynccontextmanager
async def slow_network(bed: Bed, runtime: Runtime) -> AsyncIterator[None]:
    """The making of a sandbox stands still while the block runs, its namespace and address already there."""
    begun, go = bed.at / "slow.begun", bed.at / "slow.go"
    begun.unlink(missing_ok=True)
    go.unlink(missing_ok=True)
    (bed.at / "plugins/slow").write_text(SLOW.format(at=bed.at))
    (bed.at / "plugins/slow").chmod(0o755)
    usual = bed.network
    content = json.loads(usual)
    content["plugins"].append({"type": "slow"})
    conflist = bed.at / "cni/10-bed.conflist"

    async def knows(slow: bool) -> bool:
        try:
            answer = await runtime.call("Status", pb.StatusRequest(verbose=True))
        except RuntimeFailure:
            return False
        return ("slow" in answer.info["cniconfig"]) is slow

    conflist.write_text(json.dumps(content))
    await until(lambda: knows(True))
    try:
        yield
    finally:
        conflist.write_text(usual)
        go.touch()
        await until(lambda: knows(False))


async def test_a_sandbox_in_the_making_is_left_alone(bed: Bed) -> None:
    clock = iter((0.0, 60.0, 120.0, 299.0))
    async with one_node(bed) as node:
        networks = Networks(node.runtime, bed.endpoint, lambda: next(clock))
        async with slow_network(bed, node.runtime):
            await node.add("made", {"name": "c", "command": SLEEP})
            await until((bed.at / "slow.begun").exists)
            before = namespaces(bed), addresses(bed)
            for _look in range(4):
                await networks.look()
            during = namespaces(bed), addresses(bed)

        pod = await node.until("made", running)

        assert before == during == (namespaces(bed), {pod.status.pod_ip})
        assert len(before[0]) == 1
    await clean(bed)


async def test_what_a_killed_containerd_was_making_is_given_back(bed: Bed) -> None:
    async with one_node(bed) as node:
        await node.add("stays", {"name": "c", "command": SLEEP})
        await node.until("stays", running)
        async with slow_network(bed, node.runtime):
            await node.add("again", {"name": "c", "command": SLEEP})
            await until((bed.at / "slow.begun").exists)
            (bed.at / "cni/10-bed.conflist").write_text(bed.network)
            await restarted(bed, node.runtime)

        again = await node.until("again", running, 60)
        stays = await node.until("stays", running, 60)
        used = {again.status.pod_ip, stays.status.pod_ip}
        left = namespaces(bed), addresses(bed)
        assert (len(left[0]), len(left[1] - used)) == (3, 1), "what this is about was not left behind"

        # containerd wrote down the sandbox and its namespace, and removes both; it knows of no address.
        await Collector(node.kubelet.agent, node.kubelet.here, node.kubelet.settings).look()
        times = iter((0.0, 60.0))
        networks = Networks(node.runtime, bed.endpoint, lambda: next(times))
        await networks.look()
        assert addresses(bed) == left[1], "it was looked at once"
        await networks.look()

        assert (len(namespaces(bed)), addresses(bed)) == (2, used)
        for name in ("stays", "again"):
            assert "1 packets received" in await node.execute(name, "ping", "-c1", "-W2", f"{bed.subnet}.1")
    await clean(bed)


def forgotten(bed: Bed) -> tuple[str, str]:
    """A namespace and an address as containerd makes them, that no sandbox of it has: their names."""
    name = f"cni-{uuid.uuid4()}"
    (bed.namespaces / name).touch()
    subprocess.run(["unshare", f"--net={bed.namespaces / name}", "true"], check=True, timeout=10)
    content = json.loads(bed.network)
    plugin = content["plugins"][0] | {"name": content["name"], "cniVersion": content["cniVersion"]}
    added = subprocess.run(
        [bed.at / "plugins/ptp"], input=json.dumps(plugin), capture_output=True, text=True, check=True, timeout=10,
        env={
            **os.environ, "CNI_COMMAND": "ADD", "CNI_CONTAINERID": uuid.uuid4().hex * 2, "CNI_IFNAME": "eth0",
            "CNI_NETNS": str(bed.namespaces / name), "CNI_PATH": str(bed.at / "plugins"),
        },
    )  # fmt: skip
    return name, json.loads(added.stdout)["ips"][0]["address"].partition("/")[0]


async def restarted(bed: Bed, runtime: Runtime) -> None:
    """Kill containerd and start it again, as systemd does a second later."""
    newest = max(path.stat().st_mtime for path in bed.namespaces.iterdir())
    assert bed.process is not None
    bed.process.kill()
    bed.process.wait(10)
    await until(lambda: time.time() > newest + 1.5)
    bed.run()
    await until(lambda: answers(runtime))


async def test_what_no_sandbox_has_is_given_back_at_the_second_look_after_a_restart(bed: Bed) -> None:
    times = iter((0.0, 299.0))
    async with one_node(bed) as node:
        await node.add("stays", {"name": "c", "command": SLEEP})
        stays = await node.until("stays", running)
        before = namespaces(bed)
        name, address = forgotten(bed)
        everything = {*before, name}, {stays.status.pod_ip, address}
        assert (namespaces(bed), addresses(bed)) == everything

        networks = Networks(node.runtime, bed.endpoint, lambda: next(times))
        await networks.look()
        await networks.look()
        assert namespaces(bed) == everything[0], "somebody may be making a sandbox of it"

        await restarted(bed, node.runtime)
        times = iter((300.0, 360.0, 420.0, 480.0))
        networks = Networks(node.runtime, bed.endpoint, lambda: next(times))
        await networks.look()
        assert namespaces(bed) == everything[0], "it was looked at once"
        with lived_in(bed, name):
            await networks.look()
        assert (namespaces(bed), addresses(bed)) == everything
        await networks.look()
        await networks.look()

        assert (namespaces(bed), addresses(bed)) == (before, {stays.status.pod_ip})
        assert "1 packets received" in await node.execute("stays", "ping", "-c1", "-W2", f"{bed.subnet}.1")
    await clean(bed)


async def answers(runtime: Runtime) -> bool:
    try:
        await runtime.conditions()
    except RuntimeFailure:
        return False
    return True


@contextmanager
def lived_in(bed: Bed, name: str) -> Iterator[None]:
    """A process is in a namespace while the block runs."""
    command = ["nsenter", f"--net={bed.namespaces / name}", "sh", "-c", "echo in; exec sleep 60"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        try:
            yield
        finally:
            process.kill()


def made_by_hand(bed: Bed) -> tuple[pb.PodSandboxConfig, pb.ContainerConfig]:
    """A sandbox and a container of no kubelet's."""
    sandbox = pb.PodSandboxConfig(
        metadata=pb.PodSandboxMetadata(name="p", uid="u", namespace="n"),
        labels={"io.kubernetes.pod.uid": "u"},
        linux=pb.LinuxPodSandboxConfig(cgroup_parent=bed.cgroup),
    )
    config = pb.ContainerConfig(
        metadata=pb.ContainerMetadata(name="c"), image=pb.ImageSpec(image="busybox:1.36"), command=SLEEP,
        labels={"io.kubernetes.pod.uid": "u"}, linux=pb.LinuxContainerConfig(),
    )  # fmt: skip
    return sandbox, config


async def test_a_task_that_was_never_started_does_not_keep_its_container(bed: Bed) -> None:
    sandbox, config = made_by_hand(bed)
    async with Runtime(bed.endpoint) as runtime:
        await runtime.greet()
        home = await runtime.run_sandbox(sandbox)
        identity = await runtime.create_container(home, config, sandbox)
        with helpless_runc(bed), pytest.raises(RuntimeFailure):
            await runtime.start_container(identity)
        state, before = await runtime.state(identity), await task_of(runtime, identity)
        with pytest.raises(RuntimeFailure, match="cannot delete running task"):
            await runtime.remove_container(identity)

        await remove_container(runtime, identity)

        assert (state, before) == (RunState.EXITED, Task.CREATED), "what this is about was not left behind"
        assert not (await runtime.actual("u")).instances
        assert await task_of(runtime, identity) is Task.UNKNOWN
        await runtime.stop_sandbox(home)
        await runtime.remove_sandbox(home)


async def test_a_container_that_runs_is_not_taken_for_one_that_nobody_knows_of(bed: Bed) -> None:
    sandbox, config = made_by_hand(bed)
    async with Runtime(bed.endpoint) as runtime:
        await runtime.greet()
        home = await runtime.run_sandbox(sandbox)
        identity = await runtime.create_container(home, config, sandbox)
        await runtime.start_container(identity)
        assert await task_of(runtime, identity) is Task.RUNNING

        # CRI stops it itself.
        await remove_container(runtime, identity)

        assert await task_of(runtime, identity) is Task.UNKNOWN
        await runtime.stop_sandbox(home)
        await runtime.remove_sandbox(home)


async def task_of(runtime: Runtime, identity: str) -> Task:
    """UNKNOWN for none."""
    try:
        answer = await runtime.own(own_rpc.TasksStub, "Get", own.GetRequest(container_id=identity))
    except RuntimeFailure:
        return Task.UNKNOWN
    return Task(answer.process.status)


@contextmanager
def helpless_runc(bed: Bed) -> Iterator[None]:
    """What a caller that dies in the middle leads to, every time: a task is made, not started, and cannot be ended."""
    runc = (bed.at / "runc").resolve()
    (bed.at / "helpless").write_text(HELPLESS.format(runc=runc))
    (bed.at / "helpless").chmod(0o755)
    _point(bed.at / "runc", bed.at / "helpless")
    try:
        yield
    finally:
        _point(bed.at / "runc", runc)


def _point(link: Path, target: Path) -> None:
    new = link.with_suffix(".new")
    new.symlink_to(target)
    new.replace(link)


def told(node: OneNode) -> tuple[str, str]:
    found = node.api.one(Node, "", "n1")
    assert found is not None
    ready = next(one for one in found.status.conditions if one.type == "Ready")
    return ready.status, ready.message


async def test_what_happened_while_the_api_server_was_away_is_told_when_it_is_back(bed: Bed) -> None:
    async with one_node(bed) as node:
        pods = [await node.add(name, {"name": "c", "command": SLEEP}) for name in ("calm", "ends")]
        before = [first(await node.until(pod.metadata.name, running)) for pod in pods]

        def refuse(_method: str, _path: str) -> None:
            raise ServiceUnavailable("the server is currently unable to handle the request")

        node.api.refuse = refuse
        identity = before[1].container_id.partition("://")[2]
        await node.runtime.stop_container(identity, 1)

        async def restarted_here() -> bool:
            runs = (await node.runtime.actual(pods[1].metadata.uid)).instances
            return runs[0].running and runs[0].attempt == 1

        await until(restarted_here)
        unseen = node.pod("ends")
        assert unseen is not None
        assert first(unseen).restart_count == 0
        node.api.refuse = lambda _method, _path: None

        ends = await node.until("ends", lambda pod: first(pod).restart_count == 1 and running(pod), 60)
        calm = node.pod("calm")
        assert calm is not None
        assert first(calm).container_id == before[0].container_id
        assert first(ends).last_state.terminated.container_id == before[1].container_id
    await clean(bed)


async def test_a_containerd_that_hangs_makes_the_node_not_ready_until_it_goes_on(bed: Bed) -> None:
    async with one_node(bed, Api(*KINDS), status_every=1.0) as node:
        await node.add("calm", {"name": "c", "command": SLEEP})
        calm = await node.until("calm", running)
        assert bed.process is not None
        with frozen(bed.process):
            await until(lambda: told(node)[0] == "False", 90)
            message = told(node)[1]
        await until(lambda: told(node)[0] == "True", 60)
        after = node.pod("calm")

        assert message == "container runtime is down"
        assert after is not None
        assert (
            after.status.container_statuses[0].container_id == calm.status.container_statuses[0].container_id
        )
        assert after.status.container_statuses[0].restart_count == 0
        await node.add("next", {"name": "c", "command": SLEEP})
        await node.until("next", running)
    await clean(bed)
