"""Telling the scheduler what room a node has, so that it chooses no full one (CSIStorageCapacity).

What holds: for each class of this driver that waits for its pods there is one object of this node, and none for a class
that is gone; room is told a moment after it was given or taken, and every minute, since others fill the disk, too.
"""

import asyncio
import logging
from collections.abc import Iterable

from kybern.api.core_v1 import Node
from kybern.api.meta_v1 import LabelSelector, ObjectMeta, OwnerReference
from kybern.api.storage_v1 import CSIStorageCapacity, StorageClass
from kybern.client.cache import Cache
from kybern.client.verbs import Verbs
from kybern.local_volumes.names import DRIVER, NODE_KEY
from kybern.local_volumes.store import Store
from kybern.loop.volume_marks import LATER
from kybern.machinery.errors import AlreadyExists, ApiError
from kybern.machinery.quantity import Format, Quantity
from kybern.machinery.struct import replace

log = logging.getLogger(__name__)

NAMESPACE = "kube-system"
_EVERY = 60.0
_AGAIN = 5.0
_STEP = 1 << 24  # bytes: what fills the disk slowly does not make a write each minute
_NANO = 10**9


def wanted(classes: Iterable[StorageClass], node: str, room: int) -> tuple[CSIStorageCapacity, ...]:
    """The objects that this node is to have. Pure. ``room`` in bytes."""
    told = Quantity(room // _STEP * _STEP * _NANO, Format.BINARY)
    marks = {NODE_KEY: node}
    return tuple(
        CSIStorageCapacity(
            metadata=ObjectMeta(name=f"{DRIVER}.{node}.{name}", namespace=NAMESPACE, labels=marks),
            capacity=str(told),
            node_topology=LabelSelector(match_labels=marks),
            storage_class_name=name,
        )
        for name in sorted(
            one.metadata.name
            for one in classes
            if one.provisioner == DRIVER and one.volume_binding_mode == LATER
        )
    )


class Capacity:
    """``run`` belongs into the daemon's TaskGroup; ``changed`` is set when room was given or taken."""

    def __init__(self, client: Verbs, cache: Cache, store: Store, node: str) -> None:
        self._client = client
        self._cache = cache
        self._store = store
        self._node = node
        self._owner: OwnerReference | None = None
        self.changed = asyncio.Event()

    async def run(self) -> None:
        """Until cancelled."""
        await self._cache.synced(StorageClass)
        while True:
            self.changed.clear()
            wait = _EVERY
            try:
                await self.publish()
            except (ApiError, OSError) as problem:
                log.warning("cannot tell how much room there is: %s", problem)
                wait = _AGAIN
            try:
                async with asyncio.timeout(wait):
                    await self.changed.wait()
            except TimeoutError:
                continue

    async def publish(self) -> None:
        """Bring the API to what there is; raises ApiError, OSError."""
        room = await asyncio.to_thread(self._store.room)
        listed, _revision = await self._client.list(
            CSIStorageCapacity, NAMESPACE, label_selector=f"{NODE_KEY}={self._node}"
        )
        there = {one.metadata.name: one for one in listed}
        for one in wanted(self._cache.list(StorageClass), self._node, room):
            old = there.pop(one.metadata.name, None)
            if old is None:
                await self._create(one)
            elif old.capacity != one.capacity:
                await self._client.patch(old, replace(old, capacity=one.capacity))
        for gone in there.values():
            await self._client.delete(gone)

    async def _create(self, one: CSIStorageCapacity) -> None:
        """Owned by the node: it goes with it."""
        if self._owner is None:
            node = await self._client.get(Node, self._node)
            self._owner = OwnerReference(
                api_version="v1", kind="Node", name=self._node, uid=node.metadata.uid
            )
        metadata = replace(one.metadata, owner_references=(self._owner,))
        try:
            await self._client.create(replace(one, metadata=metadata))
        except AlreadyExists:
            log.debug("%s was there already", one.metadata.name)
