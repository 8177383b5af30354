"""Giving back network namespaces and addresses that no sandbox has: observe, diff, act.

Files are listed before sandboxes are asked for, so that a sandbox which is made meanwhile is no candidate. Only containerd
is asked what it has (its verbose answers are what this rests on); another runtime's network is left alone.
"""

import asyncio
import json
import logging
import os
import socket
import struct
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from kybern._proto import cri_pb2 as pb
from kybern.daemon import mounts
from kybern.kubelet.cri import Runtime, RuntimeFailure
from kybern.kubelet.leftovers import cni, plan
from kybern.kubelet.leftovers.plan import Address, Namespace, Seen, Thing

log = logging.getLogger(__name__)

_USUAL = "/run/netns"
_UNTOLD = "?"


@dataclass(frozen=True, slots=True)
class Places:
    """Where the runtime keeps namespaces, and which networks it has."""

    namespaces: Path
    networks: tuple[cni.Network, ...]


def places_of(info: Mapping[str, str]) -> Places:
    """Of containerd's verbose Status. Pure."""
    config = json.loads(info.get("config") or "{}")
    below = bool(config.get("netnsMountsUnderStateDir"))
    directory = Path(config["stateDir"], "netns") if below else Path(_USUAL)
    return Places(directory, cni.networks(info.get("cniconfig", "")))


def namespace_of(info: Mapping[str, str]) -> str:
    """The name of the namespace that a sandbox has, of its verbose status; empty for none, ``_UNTOLD`` if unclear. Pure."""
    told = json.loads(info.get("info") or "{}")
    spec = told.get("runtimeSpec")
    if not isinstance(spec, dict):
        return "" if told.get("netNamespaceClosed") else _UNTOLD
    found = [one for one in (spec.get("linux") or {}).get("namespaces") or () if one.get("type") == "network"]
    return Path(found[0].get("path") or "").name if found else ""


class Networks:
    """Remembers since when what is nobody's, by a steady ``clock``."""

    def __init__(self, runtime: Runtime, endpoint: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._runtime = runtime
        self._socket = endpoint.removeprefix("unix://")
        self._clock = clock
        self._known: dict[str, str] = {}
        self._since: dict[Thing, float] = {}

    async def look(self) -> None:
        """One look; raises RuntimeFailure, OSError."""
        if self._runtime.name != "containerd":
            return
        answer = await self._runtime.call("Status", pb.StatusRequest(verbose=True))
        places = places_of(answer.info)
        seen = await self._seen(places)
        now = self._clock()
        self._since = plan.remember(self._since, seen, now)
        for thing in plan.diff(seen, self._since, now):
            log.warning("giving back what no sandbox has: %s", thing)
            await self._give_back(thing, places)

    async def _give_back(self, thing: Thing, places: Places) -> None:
        if isinstance(thing, Namespace):
            await asyncio.to_thread(_remove, places.namespaces / thing.name)
            return
        network = next(one for one in places.networks if one.name == thing.network)
        try:
            await cni.release(network, thing)
        except cni.PluginFailed as problem:
            log.warning("%s; it is tried again", problem)

    async def _seen(self, places: Places) -> Seen:
        spaces = await asyncio.to_thread(_namespaces, places.namespaces)
        given = await asyncio.to_thread(lambda: _addresses(places.networks))
        listed = await self._runtime.call("ListPodSandbox", pb.ListPodSandboxRequest())
        identities = frozenset(item.id for item in listed.items)
        # The id of a namespace's owner may be in the list no more when its end is told: then it is asked in vain.
        named = await self._named(identities) if spaces else frozenset[str]()
        started = await asyncio.to_thread(_started, self._socket)
        suspects = [one for one in spaces if named is not None and one.name not in named]
        lived = await asyncio.to_thread(_lived, places.namespaces, suspects)
        marked = tuple(replace(one, lived=one.name in lived) for one in spaces)
        return Seen(marked, given, identities, named, started)

    async def _named(self, identities: frozenset[str]) -> frozenset[str] | None:
        self._known = {key: name for key, name in self._known.items() if key in identities}
        for identity in identities - self._known.keys():
            request = pb.PodSandboxStatusRequest(pod_sandbox_id=identity, verbose=True)
            try:
                answer = await self._runtime.call("PodSandboxStatus", request)
            except RuntimeFailure as problem:
                if problem.code == "NOT_FOUND":
                    continue
                raise
            name = namespace_of(answer.info)
            if name == _UNTOLD:
                return None
            self._known[identity] = name
        return frozenset(self._known.values())


def _namespaces(directory: Path) -> tuple[Namespace, ...]:
    found = []
    for path in directory.iterdir() if directory.is_dir() else ():
        if plan.is_of_runtime(path.name):
            try:
                found.append(Namespace(path.name, path.stat().st_mtime))
            except FileNotFoundError:
                continue
    return tuple(found)


def _addresses(networks: Iterable[cni.Network]) -> tuple[Address, ...]:
    return tuple(one for network in networks for one in cni.addresses(network))


def _lived(directory: Path, suspects: Iterable[Namespace]) -> frozenset[str]:
    """Those in which a process is."""
    numbers = {}
    for one in suspects:
        try:
            numbers[(directory / one.name).stat().st_ino] = one.name
        except FileNotFoundError:
            continue
    found = set()
    for process in Path("/proc").iterdir() if numbers else ():
        if process.name.isdecimal():
            try:
                found.add(numbers.get((process / "ns/net").stat().st_ino, ""))
            except (FileNotFoundError, ProcessLookupError, PermissionError):
                continue
    return frozenset(found - {""})


def _started(path: str) -> float | None:
    """When the process that listens on a socket began, by the wall clock; None when it cannot be told.

    Two readings, of which the earlier counts: the clock may have been set since, and then either alone may be wrong.
    """
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as asking:
            asking.settimeout(5.0)
            asking.connect(path)
            cred: Any = asking.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
        process = struct.unpack("3i", cred)[0]
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
        made = Path(path).stat().st_mtime
    except (OSError, TimeoutError):
        return None
    # The twenty-second field, of which the first two are gone: ticks after boot.
    age = time.clock_gettime(time.CLOCK_BOOTTIME) - int(fields[19]) / os.sysconf("SC_CLK_TCK")
    return min(made, time.time() - age)


def _remove(path: Path) -> None:
    mounts.unmount(path, lazily=True)
    path.unlink(missing_ok=True)
