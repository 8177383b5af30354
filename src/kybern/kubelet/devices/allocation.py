"""Giving devices to pods, and knowing it across restarts.

What holds: what is given is on disk before a container uses it; the devices of a pod are free again when nothing of it runs.
"""

import asyncio
import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from kybern._proto import cri_pb2 as cri
from kybern._proto import deviceplugin_pb2 as pb
from kybern.api.core_v1 import Pod
from kybern.kubelet.devices.ledger import Given, Unavailable, give
from kybern.kubelet.devices.plugins import PluginFailure, Plugins

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


class Devices:
    """All of the node's. ``directory`` is ROOT/device-plugins."""

    def __init__(self, directory: Path) -> None:
        self._file = directory / _FILE
        self.plugins = Plugins(directory)
        self._given = _read(self._file)

    async def admit(self, pod: Pod) -> str:
        """Take a pod's devices, if it asks for any and has none; why it cannot have them, or nothing."""
        uid = pod.metadata.uid
        if any(one.pod == uid for one in self._given):
            return ""
        try:
            # Nothing is awaited between looking and taking.
            chosen = give(pod, self.plugins.well(), self._given)
            self._given = (*self._given, *chosen)
            if not chosen:
                return ""
            answered = [await self._answered(one) for one in chosen]
        except (Unavailable, PluginFailure) as problem:
            await self.release(uid)
            return str(problem)
        await self._keep((*(one for one in self._given if one.pod != uid), *answered))
        return ""

    async def _answered(self, one: Given) -> Given:
        answer = await self.plugins.allocate(one.resource, one.devices)
        return Given(one.pod, one.container, one.resource, one.devices, answer)

    async def equip(self, uid: str, container: str) -> Equipment:
        """What a container needs for its devices; raises PluginFailure."""
        mine = [one for one in self._given if (one.pod, one.container) == (uid, container)]
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

    async def release(self, uid: str) -> None:
        """Nothing of a pod runs any more."""
        if any(one.pod == uid for one in self._given):
            await self._keep(tuple(one for one in self._given if one.pod != uid))

    def holders(self) -> frozenset[str]:
        """Uids of the pods that have devices."""
        return frozenset(one.pod for one in self._given)

    async def _keep(self, given: tuple[Given, ...]) -> None:
        self._given = given
        await asyncio.to_thread(_write, self._file, given)


def _read(file: Path) -> tuple[Given, ...]:
    try:
        return msgspec.json.decode(file.read_bytes(), type=tuple[Given, ...])
    except FileNotFoundError:
        return ()
    except (OSError, msgspec.DecodeError) as problem:
        log.warning("cannot read %s: %s; taking all devices for free", file, problem)
        return ()


def _write(file: Path, given: tuple[Given, ...]) -> None:
    file.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
    fresh = file.with_suffix(".new")
    fresh.write_bytes(msgspec.json.encode(given))
    fresh.replace(file)
