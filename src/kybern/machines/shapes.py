"""What a machine is made with, out of a topology: memory, processors, disks, and what only a virtual machine has."""

from dataclasses import replace
from pathlib import Path

from kybern.machines.fields import Fields, Place, Value, one_of, positive, size, yes_or_no
from kybern.machines.topology import Machine

KEYS = ("memory", "cpus", "disk", "disks", "firmware", "autostart")
FIRMWARE = ("bios", "uefi")
# As many as there are letters after those of its own disk and of its settings.
MOST_DISKS = 24
MIB = 'a size such as "512MiB" or "10GiB"'
COUNT = "a number of at least 1"


def shaped(path: Path, fields: Fields, before: Machine) -> Machine:
    """The machine with what its fields say instead of what it had."""
    return replace(
        before,
        memory=fields.parse("memory", size, MIB, before.memory),
        cpus=fields.parse("cpus", positive, COUNT, before.cpus),
        disk=fields.parse("disk", size, MIB, before.disk),
        disks=_disks(path, fields, before.disks),
        firmware=fields.parse("firmware", one_of(*FIRMWARE), " or ".join(FIRMWARE), before.firmware),
        autostart=fields.parse("autostart", yes_or_no, "true or false", before.autostart),
    )


def _disks(path: Path, fields: Fields, before: tuple[int, ...]) -> tuple[int, ...]:
    node = fields.node("disks")
    if node is None:
        return before
    found = []
    for item in fields.items("disks"):
        place = Place(path, item.start_mark.line + 1)
        found.append(Value(str(item.value), place).parse(size, MIB))
    if len(found) > MOST_DISKS:
        place = Place(path, node.start_mark.line + 1)
        raise place.error(f"a machine may have {MOST_DISKS} disks beside its own, not {len(found)}")
    return tuple(found)


def check_kind(place: Place, machine: Machine, driver: str) -> None:
    """A container is refused what it does not have, and so is a machine that is not made here."""
    if why := unfit(machine, driver):
        raise place.error(why)


def unfit(machine: Machine, driver: str) -> str:
    """Why a driver cannot make the machine; empty if it can."""
    if driver == "none" and machine.networks:
        return f'{machine.name} has networks, which "driver: none" does not give; give it them yourself, and leave them out'
    if driver == "qemu" or not machine.is_virtual_for_certain:
        return ""
    return (
        f'{machine.name} has disks, firmware or autostart, which "driver: {driver}" does not give; '
        'say "driver: qemu", or leave them out'
    )
