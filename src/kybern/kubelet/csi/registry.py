"""Who may be asked: drivers that put a socket into the registry's directory, made known to the scheduler by CSINode.

What holds: a driver is known as long as its socket is there; one whose registration failed is told why and tried again. The
node's CSINode says what each driver calls this node, how many volumes it takes and by which labels it is placed.
"""

import asyncio
import json
import logging
import stat
from pathlib import Path

import grpc
import grpc.aio

from kybern._proto import pluginregistration_pb2 as pb
from kybern._proto import pluginregistration_pb2_grpc as rpc
from kybern.api.core_v1 import Node
from kybern.api.meta_v1 import ObjectMeta, OwnerReference
from kybern.api.storage_v1 import CSINode, CSINodeDriver, CSINodeSpec, VolumeNodeResources
from kybern.client.verbs import Verbs
from kybern.kubelet.csi.driver import Driver, Info
from kybern.kubelet.csi.mounter import Mounter
from kybern.kubelet.dra.claims import CannotPrepare
from kybern.kubelet.dra.drivers import Drivers
from kybern.kubelet.volumes.plugin import CannotMount
from kybern.machinery.errors import AlreadyExists, ApiError, NotFound
from kybern.machinery.struct import replace

log = logging.getLogger(__name__)

_EVERY = 1.0
_PATIENCE = 10.0
_DEVICES = "DRAPlugin"
_NODE_ID = "csi.volume.kubernetes.io/nodeid"


class CannotRegister(Exception):
    """Why a plugin is not taken; it is told so."""


def sockets(directory: Path) -> dict[Path, int]:
    """The sockets below a directory, by path, each with a mark that another socket of that name does not have. Blocking."""
    found = {}
    for path in directory.rglob("*"):
        try:
            status = path.lstat()
        except OSError:
            continue
        if stat.S_ISSOCK(status.st_mode) and not path.name.startswith("."):
            found[path] = status.st_ctime_ns
    return found


def with_driver(drivers: tuple[CSINodeDriver, ...], name: str, info: Info) -> tuple[CSINodeDriver, ...]:
    """The drivers of a CSINode with one as it is now. Pure."""
    resources = VolumeNodeResources(count=info.most) if info.most > 0 else None
    fresh = CSINodeDriver(
        name=name, node_id=info.node, topology_keys=tuple(info.topology), allocatable=resources
    )
    return (*(one for one in drivers if one.name != name), fresh)


def _ids(text: str) -> dict[str, str]:
    """What drivers call this node, as the node's annotation has it; raises CannotRegister for one that is broken."""
    try:
        found = json.loads(text)
    except ValueError as problem:
        raise CannotRegister(f"annotation {_NODE_ID} of the node is not JSON: {text}") from problem
    if not isinstance(found, dict):
        raise CannotRegister(f"annotation {_NODE_ID} of the node is no map of drivers: {text}")
    return found


class Registry:
    """``run`` belongs into the daemon's TaskGroup. ``client`` None: drivers are known here only."""

    def __init__(
        self, root: Path, node: str, client: Verbs | None, mounter: Mounter, devices: Drivers
    ) -> None:
        self._devices = devices
        self._directory = root / "plugins_registry"
        self._node = node
        self._client = client
        self._mounter = mounter
        self._known: dict[Path, tuple[int, str]] = {}
        self._kinds: dict[Path, str] = {}
        self._node_known = False

    async def run(self) -> None:
        await asyncio.to_thread(self._directory.mkdir, 0o750, parents=True, exist_ok=True)
        while True:
            await self.look()
            await asyncio.sleep(_EVERY)

    async def look(self) -> None:
        """Look at the sockets once."""
        found = await asyncio.to_thread(sockets, self._directory)
        for path, (mark, name) in list(self._known.items()):
            if found.get(path) != mark:
                del self._known[path]
                if self._kinds.pop(path, "") == _DEVICES:
                    self._devices.remove(name)
                else:
                    await self._gone(name)
        if not await self._node_is_there():
            return
        for path, mark in found.items():
            if path not in self._known:
                name = await self._register(path)
                if name:
                    self._known[path] = (mark, name)

    async def _node_is_there(self) -> bool:
        """Drivers are told of a failure only when there is one: at first the node itself has to be known."""
        if self._client is not None and not self._node_known:
            try:
                await self._client.get(Node, self._node)
            except ApiError as problem:
                log.debug("storage drivers wait for node %s: %s", self._node, problem)
                return False
        self._node_known = True
        return True

    async def _register(self, path: Path) -> str:
        """The driver's name, once it is known; empty when it is to be tried again."""
        options = [("grpc.default_authority", "localhost")]
        async with grpc.aio.insecure_channel(f"unix://{path}", options=options) as channel:
            plugin = rpc.RegistrationStub(channel)
            try:
                about = await plugin.GetInfo(pb.InfoRequest(), timeout=_PATIENCE)
                problem = ""
                try:
                    await self._take(about, path)
                except (CannotRegister, CannotMount, CannotPrepare, ApiError) as why:
                    problem = f"RegisterPlugin error -- plugin registration failed with err: {why}"
                    log.warning("cannot register plugin %s: %s", about.name, why)
                told = pb.RegistrationStatus(plugin_registered=not problem, error=problem)
                await plugin.NotifyRegistrationStatus(told, timeout=_PATIENCE)
            except grpc.aio.AioRpcError as problem_:
                log.warning("cannot register the plugin at %s: %s", path, problem_.details())
                return ""
        self._kinds[path] = about.type
        return "" if problem else str(about.name)

    async def _take(self, about: pb.PluginInfo, path: Path) -> None:
        if about.type == _DEVICES:
            self._devices.add(about.name, about.endpoint or str(path), about.supported_versions)
            return
        if about.type != "CSIPlugin":
            raise CannotRegister(f"no handler registered for plugin type: {about.type} at socket {path}")
        if not any(version.lstrip("v").split(".")[0] == "1" for version in about.supported_versions):
            versions = " ".join(about.supported_versions)
            raise CannotRegister(f"versions [{versions}] of driver {about.name} are not supported: 1.x is")
        driver = Driver(about.name, about.endpoint or str(path))
        info = await driver.info()
        await self._tell(about.name, info)
        self._mounter.drivers[about.name] = driver
        log.info("Registered storage driver %s at %s", about.name, driver.endpoint)

    async def _tell(self, name: str, info: Info) -> None:
        if self._client is None:
            return
        node = await self._client.get(Node, self._node)
        ids = _ids(node.metadata.annotations.get(_NODE_ID, "{}")) | {name: info.node}
        different = [k for k, v in info.topology.items() if node.metadata.labels.get(k, v) != v]
        if different:
            raise CannotRegister(
                f"detected topology value collision: driver reported {different} unlike the node's labels"
            )
        metadata = {"annotations": {_NODE_ID: json.dumps(ids)}, "labels": dict(info.topology)}
        await self._client.patch_raw(Node, "", self._node, {"metadata": metadata})
        before = await self._own(node)
        spec = CSINodeSpec(drivers=with_driver(before.spec.drivers, name, info))
        await self._client.patch(before, replace(before, spec=spec))

    async def _own(self, node: Node) -> CSINode:
        assert self._client is not None
        try:
            return await self._client.get(CSINode, self._node)
        except NotFound:
            owner = OwnerReference(api_version="v1", kind="Node", name=self._node, uid=node.metadata.uid)
            fresh = CSINode(metadata=ObjectMeta(name=self._node, owner_references=(owner,)))
        try:
            return await self._client.create(fresh)
        except AlreadyExists:
            return await self._client.get(CSINode, self._node)

    async def _gone(self, name: str) -> None:
        self._mounter.drivers.pop(name, None)
        log.info("Storage driver %s is gone", name)
        if self._client is None:
            return
        try:
            before = await self._client.get(CSINode, self._node)
            left = tuple(one for one in before.spec.drivers if one.name != name)
            await self._client.patch(before, replace(before, spec=CSINodeSpec(drivers=left)))
        except ApiError as problem:
            log.warning("cannot take driver %s out of CSINode %s: %s", name, self._node, problem)
