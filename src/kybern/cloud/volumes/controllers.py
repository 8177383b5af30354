"""The controllers of a cloud's volumes, in the one process that leads. They share what the cloud said."""

from typing import Any

from kybern.cloud.provider import Volumes
from kybern.cloud.volumes import attach, capacity, contents, provision, reclaim, resize, snapshots
from kybern.cloud.volumes.errands import Memory
from kybern.loop.controller import Controller


def controllers(volumes: Volumes) -> tuple[Controller[Any], ...]:
    memory = Memory()
    return (
        provision.controller(volumes, memory),
        reclaim.controller(volumes),
        attach.controller(volumes, memory),
        resize.controller(volumes, memory),
        snapshots.controller(),
        contents.controller(volumes, memory),
        capacity.controller(volumes),
    )
