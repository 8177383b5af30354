"""Volumes that are images: their files as a read-only directory (KEP-4639).

A runtime that can is told to mount the image (CRI's ``Mount.image``). containerd can since 2.1; before that it would make
an empty mount of it, so the kubelet asks containerd's own API for the image's layers and mounts them below the volume's
directory. Nothing of that is left in containerd: layers belong to the image, which stays while a pod refers to it.
"""

import asyncio
import json
import logging
import re
from pathlib import Path

from kybern._proto import cri_pb2 as pb
from kybern.kubelet.cri import Runtime, RuntimeFailure
from kybern.kubelet.volumes import kernel
from kybern.kubelet.volumes.plugin import CannotMount

log = logging.getLogger(__name__)

_FIRST_THAT_CAN = (2, 1)
_VERSION = re.compile(r"v?(\d+)\.(\d+)")


def by_runtime(name: str, version: str) -> bool:
    """Whether the runtime mounts images itself. Pure."""
    found = _VERSION.match(version)
    return name != "containerd" or found is None or (int(found[1]), int(found[2])) >= _FIRST_THAT_CAN


async def show(runtime: Runtime, image: str, directory: Path) -> None:
    """Have the files of an image that is on the machine at a directory; raises CannotMount."""
    if await asyncio.to_thread(kernel.is_mounted, directory):
        return
    try:
        chain = await _chain_of(runtime, image)
        snapshotter = await _snapshotter_of(runtime)
        key = f"kybern-{directory.parent.parent.parent.name}-{directory.name}"
        layers = await runtime.view(snapshotter, key, chain)
    except RuntimeFailure as problem:
        raise CannotMount(f"cannot mount image {image}: {problem}") from problem
    try:
        await asyncio.to_thread(_mount, layers, directory)
    finally:
        await runtime.remove_view(snapshotter, key)


def _mount(layers: list[tuple[str, str, tuple[str, ...]]], directory: Path) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    for kind, source, options in layers:
        kernel.mount(source, directory, kind, options, kernel.READ_ONLY | kernel.NO_EXEC)


async def _chain_of(runtime: Runtime, image: str) -> str:
    """The name of the image's topmost layer."""
    request = pb.ImageStatusRequest(image=pb.ImageSpec(image=image), verbose=True)
    answer = await runtime.call_images("ImageStatus", request)
    chain = str(_info(answer.info.get("info", "")).get("chainID", ""))
    if not chain:
        raise CannotMount(f"cannot mount image {image}: the runtime does not tell its layers")
    return chain


async def _snapshotter_of(runtime: Runtime) -> str:
    answer = await runtime.call("Status", pb.StatusRequest(verbose=True))
    containerd = _info(answer.info.get("config", "")).get("containerd")
    found = containerd.get("snapshotter", "") if isinstance(containerd, dict) else ""
    return str(found or "overlayfs")


def _info(text: str) -> dict[str, object]:
    try:
        found = json.loads(text or "{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
