"""The container runtime, by the Container Runtime Interface (runtime.v1) on a unix socket.

What holds: every call has a timeout; every failure is a ``RuntimeFailure`` with the runtime's own words; what comes out
are the frozen facts of ``runtime.py``. What is said of a run or a sandbox changes only with its state, which the lists
tell: statuses (and termination messages) are asked for once a state and remembered.
"""

import asyncio
import functools
import logging
from collections.abc import AsyncIterator, Mapping
from typing import Any, Self

import grpc
import grpc.aio

from kybern._proto import cri_pb2 as pb
from kybern._proto import cri_pb2_grpc as rpc
from kybern._proto import snapshots_pb2 as own
from kybern._proto import snapshots_pb2_grpc as own_rpc
from kybern.kubelet import labels, numbers
from kybern.kubelet.convert import Abilities, Image, abilities_of, exact, image_of, instance_of, state_of
from kybern.kubelet.runtime import Actual, Instance, RunState, Sandbox, newest_first

log = logging.getLogger(__name__)

_PATIENCE = 30.0
# Making a sandbox waits for the CNI plugins; upstream's --runtime-request-timeout is two minutes.
_LONG = 120.0
_MESSAGE = 16 * 1024 * 1024


class RuntimeFailure(Exception):
    """What the runtime answered instead of doing it. ``code`` is gRPC's name of the kind of failure."""

    def __init__(self, message: str, code: str = "") -> None:
        super().__init__(message)
        self.code = code


class Runtime:
    """One connection; an asynchronous context manager."""

    def __init__(self, endpoint: str, patience: float = _LONG, images: str = "") -> None:
        """``images`` is where the image service is, when it is not the same."""
        self._address = endpoint if "://" in endpoint else f"unix://{endpoint}"
        self._images_address = (
            images if not images or "://" in images else f"unix://{images}"
        ) or self._address
        self._long = patience
        self._runs: dict[str, Instance] = {}
        self._homes: dict[str, Sandbox] = {}
        self._channel: Any = None
        self._runtime: Any = None
        self._images: Any = None
        self._images_channel: Any = None
        self.name = "containerd"
        self.version = ""

    async def __aenter__(self) -> Self:
        options = [("grpc.max_receive_message_length", _MESSAGE), ("grpc.default_authority", "localhost")]
        self._channel = grpc.aio.insecure_channel(self._address, options=options)
        self._runtime = rpc.RuntimeServiceStub(self._channel)
        apart = self._images_address != self._address
        self._images_channel = (
            grpc.aio.insecure_channel(self._images_address, options=options) if apart else self._channel
        )
        self._images = rpc.ImageServiceStub(self._images_channel)
        return self

    async def __aexit__(self, *_problem: object) -> None:
        await self._images_channel.close()
        await self._channel.close()

    async def call(self, method: str, request: Any, timeout: float = _PATIENCE) -> Any:  # noqa: ASYNC109  # gRPC's own
        """One request to the runtime service."""
        with numbers.asking(method):
            return await self._called(getattr(self._runtime, method), request, timeout)

    async def call_images(self, method: str, request: Any, timeout: float = _PATIENCE) -> Any:  # noqa: ASYNC109  # gRPC's own
        """One request to the image service."""
        with numbers.asking(method):
            return await self._called(getattr(self._images, method), request, timeout)

    async def _called(self, method: Any, request: Any, patience: float) -> Any:
        try:
            return await method(request, timeout=patience)
        except grpc.aio.AioRpcError as problem:
            name = problem.code().name
            spoken = "".join(part.capitalize() for part in name.split("_"))
            raise RuntimeFailure(f"rpc error: code = {spoken} desc = {problem.details()}", name) from problem

    async def greet(self) -> None:
        """Learn the runtime's name and version; fails when nothing answers."""
        answer = await self.call("Version", pb.VersionRequest(version="0.1.0"))
        self.name, self.version = answer.runtime_name, answer.runtime_version

    async def conditions(self) -> Mapping[str, tuple[bool, str, str]]:
        """RuntimeReady and NetworkReady: whether, reason, message."""
        answer = await self.call("Status", pb.StatusRequest())
        return {found.type: (found.status, found.reason, found.message) for found in answer.status.conditions}

    async def abilities(self) -> Abilities:
        """What the runtime can, by its own word."""
        answer = await self.call("Status", pb.StatusRequest())
        return abilities_of(answer)

    async def cgroup_driver(self) -> str:
        """By which driver the runtime makes cgroups; "" when it does not say (containerd before 2.0)."""
        try:
            answer = await self.call("RuntimeConfig", pb.RuntimeConfigRequest())
        except RuntimeFailure as problem:
            if problem.code == "UNIMPLEMENTED":
                return ""
            raise
        if not answer.HasField("linux"):
            return ""
        return "systemd" if answer.linux.cgroup_driver == pb.SYSTEMD else "cgroupfs"

    # -- what is there ---------------------------------------------------------------------------------------------

    async def actual(self, uid: str) -> Actual:
        """All sandboxes and containers of one pod."""
        selector = {labels.POD_UID: uid}
        listed = pb.ListPodSandboxRequest(filter=pb.PodSandboxFilter(label_selector=selector))
        wanted = pb.ListContainersRequest(filter=pb.ContainerFilter(label_selector=selector))
        sandboxes, containers = await asyncio.gather(
            self.call("ListPodSandbox", listed), self.call("ListContainers", wanted)
        )
        found = [await self._sandbox(item) for item in sandboxes.items]
        runs = [await self._instance(item) for item in containers.containers]
        known = [item for item in [*sandboxes.items, *containers.containers] if item.labels]
        tags = known[0].labels if known else {}
        return Actual(
            uid=uid,
            name=tags.get(labels.POD_NAME, ""),
            namespace=tags.get(labels.POD_NAMESPACE, ""),
            sandboxes=newest_first(filter(None, found)),
            instances=newest_first(filter(None, runs)),
        )

    async def _sandbox(self, listed: Any) -> Sandbox | None:
        known = self._homes.get(listed.id)
        if known is not None and known.ready == (listed.state == pb.SANDBOX_READY):
            return known
        try:
            answer = await self.call("PodSandboxStatus", pb.PodSandboxStatusRequest(pod_sandbox_id=listed.id))
        except RuntimeFailure as problem:
            if problem.code == "NOT_FOUND":
                return None
            raise
        status = answer.status
        addresses = [status.network.ip, *(more.ip for more in status.network.additional_ips)]
        found = Sandbox(
            id=status.id,
            ready=status.state == pb.SANDBOX_READY,
            created_at=exact(status.created_at),
            attempt=status.metadata.attempt,
            ips=tuple(filter(None, addresses)),
            host_network=status.linux.namespaces.options.network == pb.NODE,
        )
        if found.ips or found.host_network:
            self._homes[found.id] = found
        return found

    async def _instance(self, listed: Any) -> Instance | None:
        known = self._runs.get(listed.id)
        if known is not None and known.state in (RunState.EXITED, state_of(listed.state)):
            return known
        try:
            answer = await self.call("ContainerStatus", pb.ContainerStatusRequest(container_id=listed.id))
        except RuntimeFailure as problem:
            if problem.code == "NOT_FOUND":
                return None
            raise
        found = instance_of(answer.status, listed.pod_sandbox_id)
        if found.state in (RunState.RUNNING, RunState.EXITED):
            self._runs[found.id] = found
        return found

    async def all(self) -> Mapping[str, tuple[frozenset[tuple[str, int]], str, str]]:
        """Every pod of ours: a mark that changes when anything of it does, its namespace and its name. By uid."""
        sandboxes, containers = await asyncio.gather(
            self.call("ListPodSandbox", pb.ListPodSandboxRequest()),
            self.call("ListContainers", pb.ListContainersRequest()),
        )
        marks: dict[str, set[tuple[str, int]]] = {}
        names: dict[str, tuple[str, str]] = {}
        alive = set()
        for item in [*sandboxes.items, *containers.containers]:
            uid = item.labels.get(labels.POD_UID, "")
            if uid:
                marks.setdefault(uid, set()).add((item.id, item.state))
                names[uid] = (item.labels.get(labels.POD_NAMESPACE, ""), item.labels.get(labels.POD_NAME, ""))
                alive.add(item.id)
        self._runs = {key: value for key, value in self._runs.items() if key in alive}
        self._homes = {key: value for key, value in self._homes.items() if key in alive}
        return {uid: (frozenset(mark), *names[uid]) for uid, mark in marks.items()}

    async def events(self) -> AsyncIterator[str]:
        """Uids of pods to which something happened, as it happens; raises RuntimeFailure when the stream ends."""
        stream = self._runtime.GetContainerEvents(pb.GetEventsRequest())
        try:
            async for event in stream:
                yield event.pod_sandbox_status.metadata.uid
        except grpc.aio.AioRpcError as problem:
            raise RuntimeFailure(str(problem.details()), problem.code().name) from problem
        finally:
            stream.cancel()

    # -- what is done ----------------------------------------------------------------------------------------------

    async def run_sandbox(self, config: Any, handler: str = "") -> str:
        request = pb.RunPodSandboxRequest(config=config, runtime_handler=handler)
        answer = await self.call("RunPodSandbox", request, 2 * self._long)
        return str(answer.pod_sandbox_id)

    async def stop_sandbox(self, identity: str) -> None:
        await self.call("StopPodSandbox", pb.StopPodSandboxRequest(pod_sandbox_id=identity), self._long)

    async def remove_sandbox(self, identity: str) -> None:
        await self.call("RemovePodSandbox", pb.RemovePodSandboxRequest(pod_sandbox_id=identity), self._long)

    async def create_container(self, sandbox: str, config: Any, sandbox_config: Any) -> str:
        request = pb.CreateContainerRequest(
            pod_sandbox_id=sandbox, config=config, sandbox_config=sandbox_config
        )
        answer = await self.call("CreateContainer", request, self._long)
        return str(answer.container_id)

    async def start_container(self, identity: str) -> None:
        await self.call("StartContainer", pb.StartContainerRequest(container_id=identity), self._long)

    async def stop_container(self, identity: str, grace: int) -> None:
        """TERM, then KILL after so many seconds; returns when it ended. One that is gone is no error."""
        request = pb.StopContainerRequest(container_id=identity, timeout=grace)
        try:
            await self.call("StopContainer", request, grace + self._long)
        except RuntimeFailure as problem:
            if problem.code != "NOT_FOUND":
                raise

    async def update_container(self, identity: str, linux: Any) -> None:
        """Give a running container other limits; ``linux`` is a LinuxContainerResources."""
        request = pb.UpdateContainerResourcesRequest(container_id=identity, linux=linux)
        await self.call("UpdateContainerResources", request, self._long)

    async def memory_of(self, identity: str) -> int:
        """Bytes of memory that a container uses; 0 when the runtime does not say."""
        answer = await self.call("ContainerStats", pb.ContainerStatsRequest(container_id=identity))
        return int(answer.stats.memory.usage_bytes.value)

    async def remove_container(self, identity: str) -> None:
        await self.call("RemoveContainer", pb.RemoveContainerRequest(container_id=identity))
        self._runs.pop(identity, None)

    async def state(self, identity: str) -> RunState:
        """What the runtime says of one container now."""
        answer = await self.call("ContainerStatus", pb.ContainerStatusRequest(container_id=identity))
        return state_of(answer.status.state)

    async def execute(self, identity: str, command: tuple[str, ...], seconds: float) -> tuple[int, bytes]:
        """Run a command in a container and give its exit code and output. DEADLINE_EXCEEDED when it takes too long."""
        request = pb.ExecSyncRequest(container_id=identity, cmd=command, timeout=max(1, int(seconds)))
        answer = await self.call("ExecSync", request, seconds + 2)
        return int(answer.exit_code), bytes(answer.stdout + answer.stderr)

    async def reopen_log(self, identity: str) -> None:
        await self.call("ReopenContainerLog", pb.ReopenContainerLogRequest(container_id=identity))

    # -- images ----------------------------------------------------------------------------------------------------

    async def image(self, name: str) -> Image | None:
        answer = await self.call_images("ImageStatus", pb.ImageStatusRequest(image=pb.ImageSpec(image=name)))
        return image_of(answer.image) if answer.image.id else None

    async def images(self) -> tuple[Image, ...]:
        answer = await self.call_images("ListImages", pb.ListImagesRequest())
        return tuple(image_of(found) for found in answer.images)

    async def pull(self, name: str, auth: Any, sandbox_config: Any) -> str:
        spec = pb.ImageSpec(image=name)
        request = pb.PullImageRequest(image=spec, auth=auth, sandbox_config=sandbox_config)
        return str((await self.call_images("PullImage", request, 30 * 60.0)).image_ref)

    async def remove_image(self, identity: str) -> None:
        await self.call_images("RemoveImage", pb.RemoveImageRequest(image=pb.ImageSpec(image=identity)))

    # -- containerd's own API, for what its CRI cannot (``image_volumes.py``, ``leftovers/removal.py``) ---------------

    async def own(self, stub: Any, method: str, request: Any) -> Any:
        """One request to a service of containerd's; ``stub`` is the generated class of it."""
        call = getattr(stub(self._channel), method)
        bound = functools.partial(call, metadata=(("containerd-namespace", "k8s.io"),))
        return await self._called(bound, request, _PATIENCE)

    async def view(self, snapshotter: str, key: str, parent: str) -> list[tuple[str, str, tuple[str, ...]]]:
        """The mounts (kind, source, options) that show the files of a layer and of those below it."""
        request = own.ViewSnapshotRequest(snapshotter=snapshotter, key=key, parent=parent)
        answer = await self.own(own_rpc.SnapshotsStub, "View", request)
        return [(found.type, found.source, tuple(found.options)) for found in answer.mounts]

    async def remove_view(self, snapshotter: str, key: str) -> None:
        request = own.RemoveSnapshotRequest(snapshotter=snapshotter, key=key)
        await self.own(own_rpc.SnapshotsStub, "Remove", request)

    async def image_directory(self) -> str:
        """Where the runtime keeps images, for the free space there; empty when it does not say."""
        answer = await self.call_images("ImageFsInfo", pb.ImageFsInfoRequest())
        return str(answer.image_filesystems[0].fs_id.mountpoint) if answer.image_filesystems else ""
