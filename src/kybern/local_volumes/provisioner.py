"""Giving claims their volumes, and taking them back: watches in, directories and volumes out.

What holds: a directory is there before its PersistentVolume is written, and gone before that is deleted; each step may be
done twice, so a daemon that was killed goes on where it was. What changes the store has its turn, so that room is promised
once; removing what a volume held takes none. What cannot be done is told by an event and tried again, later each time.
"""

import asyncio
import logging
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from kybern.api.core_v1 import PersistentVolume, PersistentVolumeClaim
from kybern.api.storage_v1 import StorageClass
from kybern.client.cache import Cache
from kybern.client.events import Recorder
from kybern.client.verbs import Verbs
from kybern.client.watch import Added, Change, Deleted, Modified, Synced
from kybern.local_volumes import objects, wishes
from kybern.local_volumes.capacity import Capacity
from kybern.local_volumes.names import DRIVER
from kybern.local_volumes.store import InUse, NoRoom, Store
from kybern.local_volumes.wishes import Grow, Guard, Make, Own, Refuse, Remove
from kybern.loop.claims import class_of
from kybern.loop.controller import Key
from kybern.loop.queue import Queue
from kybern.loop.volume_marks import PROVISIONER_FINALIZER
from kybern.loop.volumes import capacity
from kybern.machinery.errors import AlreadyExists, ApiError, Conflict, NotFound
from kybern.machinery.struct import Object, replace

log = logging.getLogger(__name__)

KINDS: tuple[type[Object], ...] = (PersistentVolumeClaim, PersistentVolume, StorageClass)
_WORKERS = 4
_VISIBLE_WITHIN = 10.0
_AT_LEAST = 1.0


class Unmet(Exception):
    """Told to whom it concerns already; to be tried again."""


class Provisioner:
    """Serves ``node``; ``run`` belongs into the daemon's TaskGroup, and so does the recorder's.

    ``spread`` gives the seconds before a claim is asked for that any node may have, so that not all ask at once.
    """

    def __init__(
        self, client: Verbs, store: Store, recorder: Recorder, node: str, spread: Callable[[], float]
    ) -> None:
        self.cache = Cache()
        self._client = client
        self._store = store
        self._recorder = recorder
        self._node = node
        self._spread = spread
        self._queue = Queue("local-volumes")
        self._turn = asyncio.Lock()
        self._asking: set[Key] = set()
        self.capacity = Capacity(client, self.cache, store, node)

    async def run(self) -> None:
        """Until cancelled."""
        try:
            async with asyncio.TaskGroup() as tasks:
                for kind in KINDS:
                    self.cache.add(kind)
                    tasks.create_task(self.cache.feed(self._client, kind, tell=self._told))
                await self.cache.synced()
                await self.settle()
                tasks.create_task(self.capacity.run())
                for _ in range(_WORKERS):
                    tasks.create_task(self._work())
        finally:
            self._queue.close()

    async def settle(self) -> None:
        """Volumes that an earlier daemon made without coming to write of them: the claim still wants it, or nobody does."""
        wanting = {one.metadata.uid for one in self.cache.list(PersistentVolumeClaim)}
        for one in await asyncio.to_thread(lambda: tuple(self._store.all())):
            if one.told:
                continue
            if self.cache.get(PersistentVolume, "", one.handle) is not None:
                await asyncio.to_thread(self._store.tell, one.handle)
            elif one.handle.removeprefix("pvc-") not in wanting:
                gone = await asyncio.to_thread(self._store.abandon, one.handle)
                log.log(
                    logging.INFO if gone else logging.WARNING,
                    "Volume %s is nobody's; removed: %s",
                    one.handle,
                    gone,
                )

    def _told(self, change: Synced[Any] | Change[Any]) -> None:
        match change:
            case Synced(items):
                seen = items
            case Added(item) | Modified(item, _) | Deleted(item):
                seen = (item,)
        for item in seen:
            self._wake(item)

    def _wake(self, item: Any) -> None:
        match item:
            case PersistentVolumeClaim():
                self._wake_claim(item)
            case PersistentVolume() if wishes.is_here(item, self._node):
                self._queue.add(Key("", item.metadata.name))
                if item.spec.claim_ref is not None:
                    self._queue.add(Key(item.spec.claim_ref.namespace, item.spec.claim_ref.name))
            case StorageClass() if item.provisioner == DRIVER:
                self.capacity.changed.set()
                for claim in self.cache.list(PersistentVolumeClaim):
                    if class_of(claim) == item.metadata.name:
                        self._wake_claim(claim)

    def _wake_claim(self, claim: PersistentVolumeClaim) -> None:
        key = Key(claim.metadata.namespace, claim.metadata.name)
        if self._concerns(claim):
            self._queue.add(key)
        else:
            self._asking.discard(key)

    def _concerns(self, claim: PersistentVolumeClaim) -> bool:
        if claim.spec.volume_name:
            volume = self.cache.get(PersistentVolume, "", claim.spec.volume_name)
            return volume is not None and wishes.is_here(volume, self._node)
        found = self.cache.get(StorageClass, "", class_of(claim))
        return wishes.of_claim(claim, found, self._node) is not None

    async def _work(self) -> None:
        while True:
            key = await self._queue.take()
            try:
                await (self.claim(key) if key.namespace else self.volume(key))
                self._queue.forget(key)
            except Unmet:
                self._queue.retry(key, at_least=_AT_LEAST)
            except (ApiError, OSError) as problem:
                delay = self._queue.retry(key)
                level = logging.DEBUG if isinstance(problem, Conflict | NotFound) else logging.WARNING
                log.log(level, "%s failed, again in %.3f s: %s", "/".join(key), delay, problem)
            except Exception:
                log.exception("cannot work on %s", "/".join(key))
                self._queue.retry(key, at_least=_AT_LEAST)
            finally:
                self._queue.done(key)

    async def claim(self, key: Key) -> None:
        """Give a claim what it wants, if it is this node's to give; raises Unmet, ApiError, OSError."""
        claim = self.cache.get(PersistentVolumeClaim, *key)
        if claim is None:
            self._asking.discard(key)
            return
        if claim.spec.volume_name:
            await self._bound(claim)
            return
        found = self.cache.get(StorageClass, "", class_of(claim))
        wish = wishes.of_claim(claim, found, self._node)
        if isinstance(wish, Own):
            await self._own(claim, key, wish)
            return
        self._asking.discard(key)
        if isinstance(wish, Refuse):
            raise self._failed(claim, "InvalidArgument", wish.why)
        if wish is not None and found is not None:
            await self._make(claim, found, wish)

    def _failed(self, claim: PersistentVolumeClaim, code: str, why: str) -> Unmet:
        """Tell it, in upstream's words; what to raise where it is to be tried again as it is."""
        text = f'failed to provision volume with StorageClass "{class_of(claim)}": rpc error: code = {code} desc = {why}'
        self._recorder.emit(claim, "Warning", "ProvisioningFailed", text)
        return Unmet(text)

    async def _own(self, claim: PersistentVolumeClaim, key: Key, wish: Own) -> None:
        if key not in self._asking:
            self._asking.add(key)
            self._queue.add_after(key, self._spread())
            return
        room = await asyncio.to_thread(self._store.room)
        if wish.size > room:
            why = f"node {self._node}: not enough space: {wish.size} bytes are asked for, {room} are left"
            raise self._failed(claim, "ResourceExhausted", why)
        # On condition that the claim is as it was: of all nodes that ask, one is first.
        await self._written(await self._client.patch(claim, objects.with_node(claim, self._node)))

    async def _make(self, claim: PersistentVolumeClaim, found: StorageClass, wish: Make) -> None:
        where = f"{claim.metadata.namespace}/{claim.metadata.name}"
        text = f'External provisioner is provisioning volume for claim "{where}"'
        self._recorder.emit(claim, "Normal", "Provisioning", text)
        volume = objects.volume_for(claim, found, self._node)
        name = volume.metadata.name
        try:
            async with self._turn:
                await asyncio.to_thread(self._store.make, name, wish.size)
        except NoRoom as problem:
            self._failed(claim, "ResourceExhausted", f"node {self._node}: {problem}")
            self.capacity.changed.set()
            # Somebody else may have room: the scheduler chooses anew, or whichever node is first.
            await self._written(await self._client.patch(claim, objects.with_node(claim, "")))
            return
        except OSError as problem:
            raise self._failed(claim, "Internal", f"node {self._node}: {problem}") from problem
        await self._written(await self._there(volume, claim))
        async with self._turn:
            await asyncio.to_thread(self._store.tell, name)
        self.capacity.changed.set()
        self._recorder.emit(
            claim, "Normal", "ProvisioningSucceeded", f"Successfully provisioned volume {name}"
        )

    async def _there(self, volume: PersistentVolume, claim: PersistentVolumeClaim) -> PersistentVolume:
        try:
            return await self._client.create(volume)
        except AlreadyExists:
            old = await self._client.get(PersistentVolume, volume.metadata.name)
        if wishes.is_here(old, self._node) and old.spec.csi is not None:
            return old
        raise self._failed(
            claim, "AlreadyExists", f"volume {volume.metadata.name} is there, and is not of this node"
        )

    async def _written(self, item: Object) -> None:
        """Wait until an own write shows, so that it is not done again. A watch that fails is being mended already."""
        try:
            async with asyncio.timeout(_VISIBLE_WITHIN):
                await self.cache.until_written(item)
        except TimeoutError:
            log.warning("own writes did not show in the cache within %d s", _VISIBLE_WITHIN)

    async def _bound(self, claim: PersistentVolumeClaim) -> None:
        volume = self.cache.get(PersistentVolume, "", claim.spec.volume_name)
        wish = wishes.of_bound(claim, volume, self._node) if volume is not None else None
        if volume is not None and wish is not None:
            await self._grow(claim, volume, wish)

    async def _grow(self, claim: PersistentVolumeClaim, volume: PersistentVolume, wish: Grow) -> None:
        name, wanted = volume.metadata.name, str(wish.wanted)
        handle = volume.spec.csi.volume_handle if volume.spec.csi is not None else ""
        self._recorder.emit(claim, "Normal", "Resizing", f"External resizer is resizing volume {name}")
        try:
            async with self._turn:
                await asyncio.to_thread(self._store.grow, handle, wish.size)
            self.capacity.changed.set()
        except (NoRoom, OSError) as problem:
            code = "OutOfRange" if isinstance(problem, NoRoom) else "Internal"
            why = f'resize volume "{name}" by resizer "{DRIVER}" failed: rpc error: code = {code} desc = {problem}'
            self._recorder.emit(claim, "Warning", "VolumeResizeFailed", why)
            told = objects.refused(claim, wanted, datetime.now(UTC))
            await self._written(await self._client.patch(claim, told, "status"))
            raise Unmet(why) from problem
        if capacity(volume) < wish.wanted:
            spec = replace(volume.spec, capacity={**volume.spec.capacity, "storage": wanted})
            await self._written(await self._client.patch(volume, replace(volume, spec=spec)))
        await self._written(await self._client.patch(claim, objects.grown(claim, wanted), "status"))
        self._recorder.emit(claim, "Normal", "VolumeResizeSuccessful", "Resize volume succeeded")

    async def volume(self, key: Key) -> None:
        """Take a volume back, or keep its finalizer as its policy says; raises Unmet, ApiError, OSError."""
        volume = self.cache.get(PersistentVolume, "", key.name)
        wish = wishes.of_volume(volume, self._node) if volume is not None else None
        if volume is not None and isinstance(wish, Guard):
            await self._written(await self._client.patch(volume, _held(volume, wish.finalizers)))
        elif volume is not None and isinstance(wish, Remove):
            await self._remove(volume)

    async def _remove(self, volume: PersistentVolume) -> None:
        handle = volume.spec.csi.volume_handle if volume.spec.csi is not None else ""
        try:
            async with self._turn:
                left = await asyncio.to_thread(self._store.retire, handle)
            await asyncio.to_thread(self._store.forget, left)
            self.capacity.changed.set()
        except (InUse, OSError) as problem:
            text = f"rpc error: code = Internal desc = {problem}"
            self._recorder.emit(volume, "Warning", "VolumeFailedDelete", text)
            raise Unmet(text) from problem
        try:
            await self._client.delete(volume)
            found = await self._client.get(PersistentVolume, volume.metadata.name)
            if found.metadata.uid == volume.metadata.uid:
                left_ = tuple(one for one in found.metadata.finalizers if one != PROVISIONER_FINALIZER)
                await self._client.patch(found, _held(found, left_))
        except NotFound:
            log.debug("volume %s was gone already", volume.metadata.name)
        await self._gone(volume)

    async def _gone(self, volume: PersistentVolume) -> None:
        try:
            async with asyncio.timeout(_VISIBLE_WITHIN):
                await self.cache.until_deleted(volume)
        except TimeoutError:
            log.warning("the end of volume %s did not show in the cache", volume.metadata.name)


def _held(volume: PersistentVolume, finalizers: tuple[str, ...]) -> PersistentVolume:
    return replace(volume, metadata=replace(volume.metadata, finalizers=finalizers))
