"""This node's own object: registered, described, and kept alive by a lease.

What holds: the status is written when something in it changed, and every five minutes (nodeStatusReportFrequency); in
between the lease says that the node lives (renewed every 10 s, valid for 40 s). Until the node is ready for the first time
it looks twice a second, so that a fresh cluster does not wait for it.
"""

import asyncio
import contextlib
import logging
import os
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from kybern.api.coordination_v1 import Lease, LeaseSpec
from kybern.api.core_v1 import Node, NodeSpec, NodeStatus, Taint
from kybern.api.meta_v1 import ObjectMeta, OwnerReference
from kybern.api.taints import UNINITIALIZED
from kybern.client.difference import difference
from kybern.client.lease import micro
from kybern.client.verbs import Verbs
from kybern.client.watch import Added, Deleted, Modified, Synced, watch
from kybern.kubelet import machine, node_status
from kybern.kubelet.convert import Abilities
from kybern.kubelet.cri import RuntimeFailure
from kybern.kubelet.node_status import Reserved, Seen
from kybern.kubelet.sources import Self
from kybern.kubelet.standing import AGAIN, Standing
from kybern.kubelet.surroundings import Surroundings
from kybern.machinery.errors import AlreadyExists, ApiError, Conflict, NotFound
from kybern.machinery.struct import encode, replace

log = logging.getLogger(__name__)

_EVERY = 10.0
_SOON = 0.5
_AGAIN = 2.0
_HEARTBEAT = 300.0
_IMAGES_EVERY = 30.0
_LEASE_SECONDS = 40
_LEASE_NAMESPACE = "kube-node-lease"


@dataclass(frozen=True, slots=True)
class Cloud:
    """A cloud-controller-manager completes the node (--cloud-provider=external). ``address``: what --node-ip says."""

    address: str = ""

    @property
    def taint(self) -> Taint:
        """Keeps pods off until then."""
        return Taint(key=UNINITIALIZED, value="true", effect="NoSchedule")

    @property
    def notes(self) -> Mapping[str, str]:
        """Which of the machine's addresses is to be the node's."""
        return {"alpha.kubernetes.io/provided-node-ip": self.address} if self.address else {}


@dataclass(frozen=True, slots=True)
class Wishes:
    """How the node is to be registered."""

    hostname: str
    addresses: tuple[str, ...]
    root: Path
    port: int = 10250
    labels: Mapping[str, str] = field(default_factory=dict)
    taints: tuple[Taint, ...] = ()
    unschedulable: bool = False
    register: bool = True
    reserved: Reserved = field(default_factory=Reserved)
    status_every: float = _EVERY
    lease_seconds: int = _LEASE_SECONDS
    provider_id: str = ""
    features: tuple[str, ...] = ()
    report_every: float = _HEARTBEAT
    most_images: int = node_status.MOST_IMAGES
    cloud: Cloud | None = None


class NodeKeeper:
    """Keeps the node's object; ``run`` belongs into the daemon's TaskGroup."""

    def __init__(
        self,
        wishes: Wishes,
        here: Surroundings,
        client: Verbs,
        me: Self,
        problem: Callable[[], str],
        in_use: Callable[[], tuple[str, ...]] = tuple,
    ) -> None:
        self._in_use = in_use
        self._wishes = wishes
        self._here = here
        self._client = client
        self._me = me
        self._problem = problem
        self._identity = machine.identity()
        self._sent_at = 0.0
        self._ready = False
        self._cordoned = False
        self._last_complaint = ""
        self._images_at = -_IMAGES_EVERY
        self._images: tuple[Any, ...] = ()
        self._abilities = Abilities()
        self._standing = Standing()
        self._wanted_now = asyncio.Event()

    @property
    def _name(self) -> str:
        return self._here.machine.node

    async def run(self) -> None:
        self._here.voice.node("Normal", "Starting", "Starting kubelet.")
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._keep())
            tasks.create_task(self._follow())
            tasks.create_task(self._renew())

    async def _follow(self) -> None:
        async for change in watch(self._client, Node, field_selector=f"metadata.name={self._name}"):
            match change:
                case Synced(items):
                    self._me.node = items[0] if items else self._me.node
                case Added(item) | Modified(item, _):
                    self._me.node = item
                case Deleted(_):
                    # Someone removed the node: it registers anew at the next look.
                    self._me.node = None

    def soon(self) -> None:
        """Something happened that the API server is to know at once."""
        self._wanted_now.set()

    async def _rest(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._wanted_now.wait()
        self._wanted_now.clear()

    async def _keep(self) -> None:
        while True:
            try:
                await self.look()
            except (ApiError, OSError) as problem:
                self._complain(f"cannot keep node {self._name}: {problem}")
                await asyncio.sleep(_AGAIN)
                continue
            self._last_complaint = ""
            await self._rest(self._pause())

    def _pause(self) -> float:
        if not self._ready:
            return _SOON
        return min(AGAIN, self._wishes.status_every) if self._standing.silent else self._wishes.status_every

    def _complain(self, text: str) -> None:
        """Once for as long as it stays the same."""
        log.log(logging.DEBUG if text == self._last_complaint else logging.WARNING, "%s", text)
        self._last_complaint = text

    async def look(self) -> None:
        """Look at the machine once, and tell what changed."""
        seen = await self._seen()
        node = self._me.node
        before = node
        if node is None:
            node, made = await self._register(seen)
            self._me.node, before = node, None if made else node
        elif (
            wrong := node_status.machine_labels(self._identity.architecture).items()
            - node.metadata.labels.items()
        ):
            # Somebody took them off, or wrote others: pods are placed by them (upstream: updateNode).
            log.warning(
                "node %s has other labels than its machine: setting %s", self._name, dict(sorted(wrong))
            )
            node = self._me.node = await self._labelled(node, dict(wrong))
        self._cordon(node)
        status = node_status.status(seen, node.status)
        self._ready = not seen.problems
        self._announce(before, status)
        now = asyncio.get_running_loop().time()
        if (
            node_status.heartbeat_only(node.status, status)
            and now - self._sent_at < self._wishes.report_every
        ):
            return
        self._me.node = await self._tell(node, status)
        self._sent_at = now

    def _announce(self, old: Node | None, new: NodeStatus) -> None:
        for kind, reason, message in node_status.changed_events(self._name, old, new):
            self._here.voice.node(kind, reason, message)

    def _cordon(self, node: Node) -> None:
        """Say that no pods come any more, or that they do again."""
        cordoned = bool(node.spec.unschedulable)
        if cordoned != self._cordoned:
            reason = "NodeNotSchedulable" if cordoned else "NodeSchedulable"
            self._here.voice.node(*node_status.is_now(self._name, reason))
        self._cordoned = cordoned

    async def _tell(self, node: Node, status: NodeStatus) -> Node:
        changed = difference(msgspec.json.decode(encode(node.status)), msgspec.json.decode(encode(status)))
        if isinstance(changed.get("addresses"), list):
            changed["addresses"] = [{"$patch": "replace"}, *changed["addresses"]]
        try:
            return await self._client.patch_raw(
                Node, "", self._name, {"status": changed}, "strategic", "status"
            )
        except NotFound:
            self._me.node = None
            raise

    async def _seen(self) -> Seen:
        problems = await self._problems()
        root = self._wishes.root
        if not problems and not self._standing.silent:
            await self._learn()
        runtime = self._here.runtime
        return Seen(
            now=datetime.now(UTC).replace(microsecond=0),
            hardware=machine.hardware(root),
            identity=self._identity,
            addresses=self._wishes.addresses,
            hostname=self._wishes.hostname,
            runtime=f"{runtime.name}://{runtime.version}",
            images=self._images,
            pressures=self._here.pressures.conditions,
            problems=problems,
            port=self._wishes.port,
            reserved=self._wishes.reserved,
            abilities=self._abilities,
            volumes=await asyncio.to_thread(self._in_use),
            devices=self._here.devices.plugins.counts(),
            features=self._wishes.features,
            most_images=self._wishes.most_images,
            in_cloud=self._wishes.cloud is not None,
        )

    async def _learn(self) -> None:
        """What the runtime has and can, now and then. Without an answer, the node is told with what was known before."""
        now = asyncio.get_running_loop().time()
        if now - self._images_at <= _IMAGES_EVERY:
            return
        try:
            self._images, self._abilities = (
                await self._here.runtime.images(),
                await self._here.runtime.abilities(),
            )
        except RuntimeFailure as problem:
            log.warning("cannot ask the container runtime for its images: %s", problem)
        self._images_at = now

    async def _problems(self) -> tuple[str, ...]:
        """Why the node is not ready; keeps the network's state for the pods too."""
        asked = self._standing.now()
        try:
            self._standing.heard(await self._here.runtime.conditions())
        except RuntimeFailure as problem:
            log.warning("cannot ask the container runtime for its state: %s", problem)
            self._standing.unheard(asked)
        network, runtime, relisting = self._here.network, self._standing.problem, self._problem()
        network.ready, network.message = not self._standing.network, self._standing.network
        found = (runtime, relisting) if self._standing.silent else (relisting, runtime)
        return tuple(filter(None, (*found, network.message, self._here.closing.problem)))

    async def _register(self, seen: Seen) -> tuple[Node, bool]:
        """Make the node's object, or take the one that is there and give it the labels that it must have.

        Also whether it was made.
        """
        wishes = self._wishes
        try:
            found = await self._client.get(Node, self._name)
        except NotFound:
            if not wishes.register:
                raise
        else:
            return await self._relabel(found), False
        wanted = node_status.labels(wishes.hostname, self._identity.architecture, wishes.labels)
        notes = {"volumes.kubernetes.io/controller-managed-attach-detach": "true"}
        if wishes.cloud is not None:
            notes |= wishes.cloud.notes
        spec = NodeSpec(
            taints=(*wishes.taints, *((wishes.cloud.taint,) if wishes.cloud is not None else ())),
            unschedulable=wishes.unschedulable or None,
            provider_id=wishes.provider_id,
        )
        made = Node(
            metadata=ObjectMeta(name=self._name, labels=wanted, annotations=notes),
            spec=spec,
            status=node_status.status(seen, NodeStatus()),
        )
        try:
            node = await self._client.create(made)
        except AlreadyExists:
            return await self._relabel(await self._client.get(Node, self._name)), False
        log.info("Registered node %s", self._name)
        return node, True

    async def _relabel(self, node: Node) -> Node:
        """Labels and annotations that describe the machine follow it; those of an administrator stay."""
        wishes = self._wishes
        wanted = node_status.labels(wishes.hostname, self._identity.architecture, wishes.labels)
        notes = wishes.cloud.notes if wishes.cloud is not None else {}
        labels, annotations = {**node.metadata.labels, **wanted}, {**node.metadata.annotations, **notes}
        if (labels, annotations) == (node.metadata.labels, node.metadata.annotations):
            return node
        new = replace(node, metadata=replace(node.metadata, labels=labels, annotations=annotations))
        return await self._client.patch(node, new)

    async def _labelled(self, node: Node, labels: Mapping[str, str]) -> Node:
        new = replace(node, metadata=replace(node.metadata, labels={**node.metadata.labels, **labels}))
        return await self._client.patch(node, new)

    # -- the lease -------------------------------------------------------------------------------------------------

    async def _renew(self) -> None:
        every = self._wishes.lease_seconds / 4
        lease: Lease | None = None
        while True:
            try:
                async with asyncio.timeout(every):
                    lease = await self._renewed(lease)
            except (ApiError, TimeoutError) as problem:
                lease = None
                self._complain(f"cannot renew the lease of node {self._name}: {problem}")
            settled = lease is not None and lease.metadata.owner_references
            # A little spread, so that the nodes of a cluster do not all come in the same moment.
            await asyncio.sleep(every * random.uniform(0.96, 1.0) if settled else _AGAIN)  # noqa: S311  # no secret

    async def _renewed(self, lease: Lease | None) -> Lease:
        spec = LeaseSpec(
            holder_identity=self._name,
            lease_duration_seconds=self._wishes.lease_seconds,
            renew_time=micro(datetime.now(UTC)),
        )
        if lease is None:
            try:
                lease = await self._client.get(Lease, self._name, _LEASE_NAMESPACE)
            except NotFound:
                meta = ObjectMeta(name=self._name, namespace=_LEASE_NAMESPACE, owner_references=self._owner())
                return await self._client.create(Lease(metadata=meta, spec=spec))
        meta = lease.metadata
        if not meta.owner_references:
            meta = replace(meta, owner_references=self._owner())
        try:
            return await self._client.patch(lease, replace(lease, metadata=meta, spec=spec))
        except (Conflict, NotFound):
            return await self._renewed(None)

    def _owner(self) -> tuple[OwnerReference, ...]:
        node = self._me.node
        if node is None:
            return ()
        uid = node.metadata.uid
        return (OwnerReference(api_version="v1", kind="Node", name=self._name, uid=uid),)


def own_addresses() -> tuple[str, ...]:
    """The address by which the machine reaches others, when --node-ip names none."""
    import socket  # noqa: PLC0415  # only where nobody told

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            # Sends nothing: it only asks the kernel for its route.
            probe.connect(("192.0.2.1", 9))
        except OSError:
            return ("127.0.0.1",)
        return (str(probe.getsockname()[0]),)


def own_hostname() -> str:
    return os.uname().nodename.strip().lower()
