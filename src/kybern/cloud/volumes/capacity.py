"""Tell the scheduler what room each zone has for volumes of a class (CSIStorageCapacity), so that it chooses no full one.

Reads StorageClass, CSIStorageCapacity. Writes CSIStorageCapacity in kube-system, which go with their class.

A zone without the class's pool has no object, so nothing of that class is placed there. Room is told once a minute.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from hashlib import sha256

from kybern.api.meta_v1 import LabelSelector, ObjectMeta, OwnerReference
from kybern.api.storage_v1 import CSIStorageCapacity, StorageClass
from kybern.cloud.provider import Volumes
from kybern.cloud.volumes import objects
from kybern.cloud.volumes.errands import Refused, Room
from kybern.cloud.volumes.names import DRIVER, ZONE_KEY
from kybern.loop.controller import Action, Controller, Create, Delete, Key, Patch, View
from kybern.loop.volume_marks import LATER
from kybern.machinery.struct import replace

NAMESPACE = "kube-system"
EVERY = 60.0
_STEP = 1 << 24  # bytes: what fills a pool slowly does not make a write each minute
_LABEL = f"{DRIVER}/class-uid"


@dataclass(frozen=True, slots=True)
class State:
    found: StorageClass
    rooms: Mapping[str, int]
    there: tuple[CSIStorageCapacity, ...]


def observe(volumes: Volumes, view: View, key: Key) -> State | None:
    found = view.get(StorageClass, "", key.name)
    if found is None or found.provisioner != DRIVER or found.volume_binding_mode != LATER:
        return None
    rooms = view.told(Room(volumes, objects.parameters(found)))
    there = tuple(
        one
        for one in view.list(CSIStorageCapacity, NAMESPACE)
        if one.metadata.labels.get(_LABEL) == found.metadata.uid
    )
    return State(found, {} if isinstance(rooms, Refused) else rooms, there)


def diff(state: State) -> Iterable[Action]:
    left = {one.metadata.name: one for one in state.there}
    for zone, room in sorted(state.rooms.items()):
        wanted = _capacity(state.found, zone, room)
        old = left.pop(wanted.metadata.name, None)
        if old is None:
            yield Create(wanted)
        elif old.capacity != wanted.capacity:
            yield Patch(old, replace(old, capacity=wanted.capacity))
    yield from (Delete(gone) for gone in left.values())


def _capacity(found: StorageClass, zone: str, room: int) -> CSIStorageCapacity:
    # Zones may have letters that names may not.
    name = sha256(f"{found.metadata.uid}/{zone}".encode()).hexdigest()[:20]
    owner = OwnerReference(
        api_version=found.api_version, kind=found.kind, name=found.metadata.name, uid=found.metadata.uid
    )
    return CSIStorageCapacity(
        metadata=ObjectMeta(
            name=f"{DRIVER}.{name}",
            namespace=NAMESPACE,
            labels={_LABEL: found.metadata.uid},
            owner_references=(owner,),
        ),
        capacity=objects.bytes_(room // _STEP * _STEP),
        node_topology=LabelSelector(match_labels={ZONE_KEY: zone}),
        storage_class_name=found.metadata.name,
    )


def _class_of(one: CSIStorageCapacity, _view: View) -> Iterable[Key]:
    if _LABEL in one.metadata.labels:
        yield Key("", one.storage_class_name)


def controller(volumes: Volumes) -> Controller[State]:
    return Controller(
        "cloud-volume-capacity",
        StorageClass,
        partial(observe, volumes),
        diff,
        watches=((CSIStorageCapacity, _class_of),),
        every=EVERY,
        source=DRIVER,
    )
