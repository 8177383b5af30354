"""What happens to a machine that boots over the network, and to its disk. Pure.

A disk is written when nothing is on it, when the topology says that what is on it may go (``wipe``), or when an installation
of ours on it was cut short. A disk on which one was finished is written only by order of the operator, which is carried out
once; neither ``wipe`` nor a server that forgot what it did is such an order. So the disk itself bears which order was the
last: the UUID of its partition table is made of that.
"""

import uuid
from dataclasses import dataclass

from kybern.netboot.disks import FINISHED, UNFINISHED, Disk, Partition
from kybern.netboot.wanted import Wanted

LEAST = 4 * 10**9
"""Bytes that a disk must have: the image, and room for a first container."""


@dataclass(frozen=True, slots=True)
class Install:
    """Write this disk. ``table`` is the UUID that its partition table gets."""

    disk: str
    table: str


@dataclass(frozen=True, slots=True)
class Return:
    """It is installed, and the server does not know its key: tell it, and start from the disk."""

    partition: str


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing is written; the machine asks again. ``why`` is for the operator."""

    why: str


type Decision = Install | Return | Wait


def from_disk(*, installed: bool, done: str, ordered: str) -> bool:
    """Whether a machine starts from its disk. ``ordered`` and ``done`` name orders to install anew; empty for none."""
    return installed and (not ordered or done == ordered)


def table_of(wanted: Wanted, order: str) -> str:
    """The UUID of the partition table of a disk that was installed by this order; empty for the first time, without one."""
    return str(uuid.uuid5(uuid.UUID(wanted.partition), order))


def decide(wanted: Wanted, disks: tuple[Disk, ...], *, order: str, done: str) -> Decision:
    """``order`` and ``done`` as for ``from_disk``: the operator's last to install it anew, and what the server remembers."""
    table = table_of(wanted, order)
    own = [(disk, root) for disk in disks if (root := _own(disk, wanted)) is not None]
    finished = [(disk, root) for disk, root in own if root.label == FINISHED]
    last = [root for disk, root in finished if disk.table == table]
    anew = bool(order) and done != order and not last
    if finished and not anew:
        root = last[0] if last else finished[0][1]
        return Return(root.path)
    chosen = _chosen(wanted, disks)
    if isinstance(chosen, Wait):
        return chosen
    if why := _refusal(wanted, chosen, anew=anew):
        return Wait(why)
    return Install(chosen.path, table)


def _own(disk: Disk, wanted: Wanted) -> Partition | None:
    """The root that we made for this machine."""
    return next((each for each in disk.partitions if each.uuid.lower() == wanted.partition), None)


def _chosen(wanted: Wanted, disks: tuple[Disk, ...]) -> Disk | Wait:
    there = ", ".join(disk.shown for disk in disks) or "none"
    if wanted.disk:
        named = [disk for disk in disks if wanted.disk in disk.names]
        if len(named) != 1:
            return Wait(
                f'{wanted.name} has {len(named) or "no"} disk{"s" * (len(named) > 1)} "{wanted.disk}"; it has: {there}; '
                "mend its install_on in the topology"
            )
        if named[0].size < LEAST:
            return Wait(f"{named[0].shown} of {wanted.name} is too small: {LEAST // 10**9} GB are needed")
        return named[0]
    fit = [disk for disk in disks if disk.usable and disk.size >= LEAST]
    if not fit:
        return Wait(
            f"{wanted.name} has no disk of {LEAST // 10**9} GB or more that can be written; it has: {there}"
        )
    if len(fit) > 1:
        return Wait(
            f"{wanted.name} has {len(fit)} disks: {', '.join(disk.shown for disk in fit)}; name one in the topology with "
            "install_on, by its path or its serial number"
        )
    return fit[0]


def _refusal(wanted: Wanted, disk: Disk, *, anew: bool) -> str:
    """Why the disk is not written; empty when it may be."""
    own = _own(disk, wanted)
    if disk.is_blank or (own is not None and own.label == UNFINISHED):
        return ""
    ours = [each for each in disk.partitions if each.label == FINISHED]
    if ours:
        if anew:
            return ""
        return (
            f"{disk.shown} of {wanted.name} has a machine of another name or cluster on it; when that may go, say: "
            f"kybern machines netboot --reinstall {wanted.name}"
        )
    if wanted.wipe:
        return ""
    return (
        f"{disk.shown} of {wanted.name} is not empty, it has: {disk.content}; when all of it may go, say wipe: true in the "
        "machine's line of the topology"
    )


def line(decision: Decision, partition: str, image: str, sha256: str) -> str:
    """The decision as the machine reads it: words of one line."""
    match decision:
        case Install(disk, table):
            return f"install {disk} {table} {partition} {image} {sha256}\n"
        case Return(path):
            return f"return {path}\n"
        case Wait(why):
            return f"wait {why}\n"
