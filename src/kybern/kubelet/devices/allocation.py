"""Giving devices to pods, and knowing it across restarts.

What holds: what is given is on disk before a container uses it; the devices of a pod are free again when nothing of it runs.
"""

import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import msgspec

from kybern._proto import cri_pb2 as cri
from kybern._proto import deviceplugin_pb2 as pb
from kybern.api.core_v1 import Pod, PodStatus
from kybern.kubelet.checkpoint import Checkpoint
from kybern.kubelet.devices.ledger import Given, Hand, Preferences, Question, Stand, free, health, wishes
from kybern.kubelet.devices.plugins import Plugins
from kybern.kubelet.topology.hints import Numa
from kybern.machinery.struct import replace as replace_in

log = logging.getLogger(__name__)

_FILE = "devices.json"


@dataclass(frozen=True, slots=True)
class Equipment:
    """What a container's configuration gets beside its own: in CRI's messages."""

    variables: dict[str, str] = field(default_factory=dict)
    annotations: dict[str, str] = field(default_factory=dict)
    mounts: tuple[Any, ...] = ()
    devices: tuple[Any, ...] = ()
    named: tuple[Any, ...] = ()

    def beside(self, names: Iterable[str]) -> "Equipment":
        """With devices more that the runtime knows by name (CDI)."""
        return replace(self, named=(*self.named, *(cri.CDIDevice(name=name) for name in names)))


class Devices:
    """All of the node's. ``directory`` is ROOT/device-plugins."""

    def __init__(self, directory: Path, numa: Numa) -> None:
        self._file = directory / _FILE
        self._numa = numa
        self.plugins = Plugins(directory)
        self._given = _read(self._file)
        self._checkpoint = Checkpoint(self._file, lambda: msgspec.json.encode(self._given))
        self.plugins.changed = self._changed
        self.told: Callable[[str], None] = lambda _uid: None
        """Hears the uid of a pod whose devices are worth something else."""

    def hand(self, pod: Pod, answers: Mapping[Question, frozenset[str]] | None = None) -> Hand | None:
        """What gives a pod the devices that it asks for; None when it asks for none, or has them.

        ``answers``: what plugins prefer, as far as they were asked.
        """
        well = self.plugins.well()
        if pod.metadata.uid in self.holders() or not any(wishes(pod, well)):
            return None
        preferences = Preferences(self.plugins.asking(), answers or {})
        return Hand(pod, Stand(self.plugins.near(), free(well, self._given), preferences), self._numa)

    def take(self, given: Iterable[Given]) -> None:
        """These are nobody else's from now on; ``keep`` writes it down."""
        self._given = (*self._given, *given)

    async def keep(self, uid: str) -> None:
        """Ask the plugins what a pod's containers need for their devices, and have it on disk. Raises PluginFailure."""
        mine = [one for one in self._given if one.pod == uid]
        answered = [await self._answered(one) for one in mine]
        await self._keep((*(one for one in self._given if one.pod != uid), *answered))

    async def _answered(self, one: Given) -> Given:
        answer = await self.plugins.allocate(one.resource, one.devices)
        return Given(one.pod, one.container, one.resource, one.devices, answer)

    async def equip(self, uid: str, container: str) -> Equipment:
        """What a container needs for its devices; raises PluginFailure."""
        mine = self.of(uid, container)
        variables: dict[str, str] = {}
        annotations: dict[str, str] = {}
        mounts, devices, named = [], [], []
        for one in mine:
            await self.plugins.before_start(one.resource, one.devices)
            told = pb.ContainerAllocateResponse.FromString(one.answer)
            variables |= told.envs
            annotations |= told.annotations
            mounts += [
                cri.Mount(container_path=m.container_path, host_path=m.host_path, readonly=m.read_only)
                for m in told.mounts
            ]
            devices += [
                cri.Device(container_path=d.container_path, host_path=d.host_path, permissions=d.permissions)
                for d in told.devices
            ]
            named += [cri.CDIDevice(name=found.name) for found in told.cdi_devices]
        return Equipment(variables, annotations, tuple(mounts), tuple(devices), tuple(named))

    def of(self, uid: str, container: str) -> tuple[Given, ...]:
        """What a container has."""
        return tuple(one for one in self._given if (one.pod, one.container) == (uid, container))

    def health(self, uid: str, status: PodStatus) -> PodStatus:
        """A pod's status with the health of the devices of its containers."""
        if uid not in self.holders():
            return status
        every, well = self.plugins.near(), self.plugins.well()
        told = tuple(
            replace_in(one, allocated_resources_status=health(self.of(uid, one.name), every, well))
            for one in status.container_statuses
        )
        return replace_in(status, container_statuses=told)

    def _changed(self, resource: str, devices: frozenset[str]) -> None:
        """Some devices are worth something else now: those that have them are to tell."""
        holders = {
            one.pod for one in self._given if one.resource == resource and devices.intersection(one.devices)
        }
        for uid in holders:
            self.told(uid)

    async def release(self, uid: str) -> None:
        """Nothing of a pod runs any more."""
        if any(one.pod == uid for one in self._given):
            await self._keep(tuple(one for one in self._given if one.pod != uid))

    def holders(self) -> frozenset[str]:
        """Uids of the pods that have devices."""
        return frozenset(one.pod for one in self._given)

    async def _keep(self, given: tuple[Given, ...]) -> None:
        self._given = given
        await self._checkpoint.keep()


_READS = msgspec.json.Decoder(tuple[Given, ...])


def _read(file: Path) -> tuple[Given, ...]:
    try:
        return _READS.decode(file.read_bytes())
    except FileNotFoundError:
        return ()
    except (OSError, msgspec.DecodeError) as problem:
        log.warning("cannot read %s: %s; taking all devices for free", file, problem)
        return ()
