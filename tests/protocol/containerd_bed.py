"""A containerd of the tests' own, with an image and a network, and a kubelet on it in this process.

Everything lies in one directory and one cgroup, and is gone afterwards: the network is a pair of interfaces for each pod
(CNI's ptp), which go with the pod.
"""

import asyncio
import base64
import json
import os
import shutil
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest

from kybern.api.coordination_v1 import Lease
from kybern.api.core_v1 import (
    ConfigMap,
    Event,
    Node,
    PersistentVolume,
    PersistentVolumeClaim,
    Pod,
    Secret,
    Service,
    ServiceAccount,
)
from kybern.api.node_v1 import RuntimeClass
from kybern.api.resource_v1 import ResourceClaim, ResourceSlice
from kybern.api.storage_v1 import CSIDriver, CSINode, VolumeAttachment
from kybern.kubelet.cri import Runtime
from kybern.kubelet.daemon import Kubelet
from kybern.kubelet.settings import Settings
from kybern.machines import oci
from tests.simulation.api import FakeApi, Resource, _merged

CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "kybern"
NODE = "n1"

CONFIG = """
version = 2
root = "{at}/root"
state = "{at}/state"
[grpc]
  address = "{at}/ctd.sock"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{pause}"
  restrict_oom_score_adj = true
  disable_tcp_service = true
  netns_mounts_under_state_dir = {own_namespaces}
  stream_server_address = "127.0.0.1"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{at}/plugins"
    conf_dir = "{at}/cni"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
      BinaryName = "{at}/runc"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.other]
    runtime_type = "io.containerd.runc.v2"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.other.options]
      BinaryName = "{runc}"
"""
NETWORK = """{{"cniVersion": "0.4.0", "name": "bed", "plugins": [
  {{"type": "ptp", "ipMasq": false, "ipam": {{"type": "host-local", "dataDir": "{at}/ipam",
    "ranges": [[{{"subnet": "{subnet}.0/24"}}]], "routes": [{{"dst": "0.0.0.0/0"}}]}}}},
  {{"type": "portmap", "capabilities": {{"portMappings": true}}}}]}}
"""


def programs() -> Path | None:
    """Where containerd and the rest lie: installed, or fetched by scripts/fetch-containerd."""
    for root in (Path(os.environ.get("KYBERN_CONTAINERD", "/nonexistent")), CACHE, Path("/")):
        if (root / "usr/bin/containerd").exists() and (root / "usr/lib/cni/ptp").exists():
            return root
    return None


@dataclass
class Bed:
    """A running containerd. ``at`` is its directory, which ends up short enough for a socket's path."""

    at: Path
    programs: Path
    process: "subprocess.Popen[bytes] | None" = None
    own_namespaces: bool = False
    """Whether network namespaces lie below the bed's directory, where no other containerd's are."""
    mark: socket.socket = field(default_factory=lambda: socket.socket(socket.AF_UNIX))

    @cached_property
    def subnet(self) -> str:
        """The first three numbers of its pods' addresses: no bed of another run on this machine has the same ones.

        The mark is a socket without a file, which the kernel takes away with whoever held it. What pods of a run that was
        killed have left in the kernel bears no mark, but addresses.
        """
        command = ["ip", "-o", "-4", "address"]
        held = subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout
        for number in range(200, 250):
            if f" 10.213.{number}." in held:
                continue
            try:
                self.mark.bind(f"\0kybern-test-bed-{number}")
            except OSError:
                continue
            return f"10.213.{number}"
        raise RuntimeError("there are fifty beds on this machine already")

    @property
    def endpoint(self) -> str:
        return f"unix://{self.at}/ctd.sock"

    @property
    def network(self) -> str:
        """The CNI configuration."""
        return NETWORK.format(at=self.at, subnet=self.subnet)

    @property
    def cgroup(self) -> str:
        return f"/kybern-test-{os.getpid()}"

    @property
    def namespaces(self) -> Path:
        """Where they lie then."""
        return self.at / "state/io.containerd.grpc.v1.cri/netns"

    def start(self) -> None:
        runc = next(
            p for p in (self.programs / "usr/sbin/runc", self.programs / "usr/bin/runc") if p.exists()
        )
        # Root of a pod with users of its own is somebody else here, and must get to its files.
        self.at.chmod(0o711)
        (self.at / "cni").mkdir()
        (self.at / "cni/10-bed.conflist").write_text(self.network)
        (self.at / "runc").symlink_to(runc)
        (self.at / "plugins").mkdir()
        for plugin in (self.programs / "usr/lib/cni").iterdir():
            (self.at / "plugins" / plugin.name).symlink_to(plugin)
        own = str(self.own_namespaces).lower()
        config = CONFIG.format(at=self.at, pause=oci.PAUSE, runc=runc, own_namespaces=own)
        (self.at / "config.toml").write_text(config)
        self.run()
        self._load()

    def run(self) -> None:
        """Start the process, for the first time or again."""
        path = f"{self.programs}/usr/bin:{os.environ['PATH']}"
        with (self.at / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [self.programs / "usr/bin/containerd", "-c", self.at / "config.toml"],
                stdout=log, stderr=log, env={**os.environ, "PATH": path},
            )  # fmt: skip

    def _load(self) -> None:
        """The images, made here."""
        find = [Path("/usr/bin"), self.programs / "usr/bin"]
        static = next(p / "busybox" for p in reversed(find) if (p / "busybox").exists())
        holder = next(p / "catatonit" for p in reversed(find) if (p / "catatonit").exists())
        applets = subprocess.run([static, "--list"], capture_output=True, text=True, check=True, timeout=10)
        images = (
            oci.pause(holder.read_bytes()),
            oci.busybox(static.read_bytes(), applets.stdout.split()),
            oci.Image(
                ("docker.io/library/files:1",),
                (oci.Entry("data"), oci.Entry("data/upper", b"upper\n", mode=0o644)),
                below=(oci.Entry("data"), oci.Entry("data/lower", b"lower\n", mode=0o644)),
            ),
            self._special(static.read_bytes()),
        )
        tarball = self.at / "images.tar"
        tarball.write_bytes(oci.layout(images))
        deadline = time.monotonic() + 20
        while True:
            done = subprocess.run(
                [self.programs / "usr/bin/ctr", "-a", self.at / "ctd.sock", "-n", "k8s.io", "images", "import", tarball],
                capture_output=True, text=True, timeout=60, check=False,
            )  # fmt: skip
            if done.returncode == 0:
                return
            if time.monotonic() > deadline:
                raise RuntimeError(f"containerd does not answer: {done.stderr}")
            time.sleep(0.2)

    def _special(self, program: bytes) -> oci.Image:
        """An image with all that one may say of itself: who runs what, where, and what shall outlive a layer."""
        people = b"root:x:0:0::/:/bin/sh\nsomebody:x:1234:4321::/:/bin/sh\n"
        links = ("sh", "echo", "id", "pwd", "mount")
        return oci.Image(
            ("docker.io/library/special:1",),
            (
                oci.Entry("bin"), oci.Entry("bin/busybox", program), oci.Entry("kept"), oci.Entry("work"),
                oci.Entry("etc"), oci.Entry("etc/passwd", people, mode=0o644),
                *(oci.Entry(f"bin/{name}", target="busybox") for name in links),
            ),
            entrypoint=("/bin/echo", "entrypoint"), command=("default", "arguments"),
            user="somebody", directory="/work", volumes=("/kept",),
        )  # fmt: skip

    def _stop_what_is_left(self) -> None:
        """Pods of a test that failed: each test that goes well leaves none. Their networks must go with them."""
        if _members(self.cgroup):
            asyncio.run(_stop_all(self.endpoint))

    def stop(self) -> None:
        self._stop_what_is_left()
        self.mark.close()
        if self.process is not None:
            self.process.terminate()
            self.process.wait(20)
        for tree in Path("/sys/fs/cgroup").glob(f"**{self.cgroup}"):
            for below in sorted(tree.rglob("*/"), key=lambda path: len(path.parts), reverse=True):
                below.rmdir()
            tree.rmdir()
        shutil.rmtree(self.at, ignore_errors=True)


def _members(cgroup: str) -> set[int]:
    files = (f for tree in Path("/sys/fs/cgroup").glob(f"**{cgroup}") for f in tree.rglob("cgroup.procs"))
    return {int(text) for file in files for text in file.read_text().split()}


async def _stop_all(endpoint: str) -> None:
    async with Runtime(endpoint) as runtime:
        for uid in await runtime.all():
            for sandbox in (await runtime.actual(uid)).sandboxes:
                await runtime.stop_sandbox(sandbox.id)
                await runtime.remove_sandbox(sandbox.id)


class Api(FakeApi):
    """The fake API server, as far as a kubelet can tell it from the real one: strategic merge, and tokens for pods."""

    def _post(self, resource: Resource, key: tuple[str, str, str], sub: str, body: Any) -> Any:
        if sub != "token":
            return super()._post(resource, key, sub, body)
        expires = int(time.time()) + body["spec"]["expirationSeconds"]
        parts = ({"alg": "none"}, {"aud": body["spec"]["audiences"], "exp": expires})
        text = ".".join(base64.urlsafe_b64encode(json.dumps(part).encode()).decode() for part in parts)
        ends = datetime.fromtimestamp(expires, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        return body | {"status": {"token": f"{text}.unsigned", "expirationTimestamp": ends}}

    def _patch(self, resource: Resource, key: tuple[str, str, str], sub: str, body: Any) -> Any:
        return self._change(resource, key, sub, lambda old: _strategic(old, body), body)


def _strategic(old: Any, body: Any) -> Any:
    new = _merged(old, body)
    status = new.get("status", {})
    before = {found["type"]: found for found in (old.get("status") or {}).get("conditions", [])}
    if "conditions" in status:
        merged = before | {
            # Field by field; what a condition has no more is named with null.
            found["type"]: _merged(before.get(found["type"]), found)
            for found in status["conditions"]
        }
        status["conditions"] = [found for found in merged.values() if "$patch" not in found]
    for name, value in status.items():
        if isinstance(value, list):
            status[name] = [found for found in value if "$patch" not in found]
    return new


SLEEP = ["sh", "-c", "trap 'exit 0' TERM; while true; do sleep 0.1; done"]


def running(pod: Pod) -> bool:
    return pod.status.phase == "Running" and all(status.ready for status in pod.status.container_statuses)


def first(pod: Pod) -> Any:
    return pod.status.container_statuses[0]


def waits_for(reason: str) -> Callable[[Pod], bool]:
    """Whether the first container waits for that reason."""

    def check(pod: Pod) -> bool:
        if not pod.status.container_statuses:
            return False
        state = first(pod).state
        return bool(state.waiting and state.waiting.reason == reason)

    return check


def settings(bed: Bed, **more: Any) -> Settings:
    given: dict[str, Any] = {
        "hostname_override": NODE, "node_ip": ("127.0.0.1",), "root_dir": f"{bed.at}/kubelet",
        "endpoint": bed.endpoint, "authorization": "AlwaysAllow", "anonymous": True, "port": 0, "healthz_port": 0,
        "cgroup_root": bed.cgroup, "pod_logs": f"{bed.at}/logs", "container_logs": f"{bed.at}/containers",
        "cert_dir": f"{bed.at}/pki", "cluster_domain": "cluster.local", "cluster_dns": ("10.96.0.10",),
        "eviction_hard": {}, "iptables_hint": False,
    }  # fmt: skip
    return Settings(**(given | more))


@dataclass
class OneNode:
    """A kubelet and the API server that it talks to."""

    bed: Bed
    api: Api
    kubelet: Kubelet
    runtime: Runtime
    tidy: list[str] = field(default_factory=list)

    async def add(self, name: str, *containers: dict[str, Any], **spec: Any) -> Pod:
        usual = {"image": "busybox:1.36", "terminationMessagePath": "/dev/termination-log"}
        raw = {
            "metadata": {"name": name, "namespace": "default"},
            "spec": {
                "nodeName": NODE,
                "containers": [usual | container for container in containers],
                "terminationGracePeriodSeconds": 1,
                "automountServiceAccountToken": False,
            }
            | spec,
        }
        await self.api.request("POST", "/api/v1/namespaces/default/pods", raw)
        found = self.api.one(Pod, "default", name)
        assert found is not None
        return found

    def pod(self, name: str) -> Pod | None:
        return self.api.one(Pod, "default", name)

    async def until(self, name: str, check: Callable[[Pod], Any], seconds: float = 30.0) -> Pod:
        """Wait until the API server says so of a pod."""
        limit = time.monotonic() + seconds
        while True:
            found = self.pod(name)
            if found is not None and check(found):
                return found
            assert time.monotonic() < limit, f"{name} did not get there: {found.status if found else None}"
            await asyncio.sleep(0.05)

    async def gone(self, name: str, seconds: float = 30.0) -> None:
        limit = time.monotonic() + seconds
        while self.pod(name) is not None:
            assert time.monotonic() < limit, f"{name} is still there"
            await asyncio.sleep(0.05)

    async def delete(self, name: str) -> None:
        found = self.pod(name)
        assert found is not None
        await self.api.delete(found)

    async def change(self, name: str, body: dict[str, Any]) -> Pod:
        """Merge something into a pod, as the API server would on an update of it or of its subresources."""
        await self.api.request("PATCH", f"/api/v1/namespaces/default/pods/{name}", body)
        found = self.pod(name)
        assert found is not None
        return found

    async def execute(self, name: str, *command: str, container: str = "") -> str:
        """What a command prints inside a container of a pod: the first one, or the one that is named."""
        found = self.pod(name)
        assert found is not None
        every = (*found.status.container_statuses, *found.status.ephemeral_container_statuses)
        chosen = next(status for status in every if container in ("", status.name))
        identity = chosen.container_id.partition("://")[2]
        _code, output = await self.runtime.execute(identity, command, 10)
        return output.decode().strip()

    def events(self, name: str) -> list[tuple[str, str]]:
        found = [event for event in self.api.all(Event) if event.involved_object.name == name]
        return [(event.reason, event.message) for event in found]


KINDS = (
    Pod, Node, Service, ConfigMap, Secret, Event, Lease, RuntimeClass, PersistentVolume, PersistentVolumeClaim, CSIDriver,
    CSINode, VolumeAttachment, ResourceClaim, ResourceSlice, ServiceAccount,
)  # fmt: skip


@asynccontextmanager
async def one_node(bed: Bed, api: Api | None = None, **more: Any) -> AsyncIterator[OneNode]:
    """A kubelet that runs while the block does, as a process would: what runs on it stays when it ends."""
    api = api or Api(*KINDS)
    async with Runtime(bed.endpoint) as runtime:
        await runtime.greet()
        kubelet = Kubelet(settings(bed, **more), runtime, api, NODE)
        task = asyncio.create_task(kubelet.run())
        try:
            yield OneNode(bed, api, kubelet, runtime)
        finally:
            if task.done():
                # It must not end by itself; why it did is worth more than what the test missed.
                task.result()
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def clean(bed: Bed) -> None:
    """Nothing of any pod is left behind: a kubelet without pods stops what it finds."""
    async with one_node(bed) as node:
        limit = time.monotonic() + 40
        while await node.runtime.all():
            assert time.monotonic() < limit, "pods are left behind"
            await asyncio.sleep(0.1)


def needed() -> Path:
    """The programs; skips where there are none."""
    found = programs()
    if os.geteuid() != 0:
        pytest.skip("containerd needs root")
    if found is None:
        pytest.skip("no containerd: run scripts/fetch-containerd, or install containerd")
    return found
