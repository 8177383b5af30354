"""Memory, disk, and the clock. Pure."""

from kybern.machines.errors import MachineError
from kybern.machines.preflight.host import total
from kybern.machines.preflight.record import Facts, Looked, Outcome, failure, passed, warning

MASTER, WORKER = 1024, 512  # MiB of memory, the least
DISK, ROOMY = 2048, 10240  # MiB free
NOTABLE, TOO_FAR = 1.0, 60.0  # seconds


def memory(looked: Looked) -> Outcome:
    least = MASTER if looked.machine.is_master else WORKER
    try:
        has = total(looked.facts["memory"])
    except MachineError as problem:
        return warning(str(problem), "mount /proc")
    if has < least:
        return failure(f"{has} MiB of memory, and {least} are the least", "give it more")
    return passed(f"{has} MiB of memory")


def disk(looked: Looked) -> Outcome:
    free = looked.facts.number("disk")
    if free is None:
        return warning("the free space of /var/lib is not known", "look at: df /var/lib")
    told = f"{free:.0f} MiB free at /var/lib"
    if free < DISK:
        return failure(f"{told}, and {DISK} are the least", "make room there")
    return passed(told) if free >= ROOMY else warning(told, "images and logs want some 10 GiB")


def clock(looked: Looked) -> Outcome:
    found = apart(looked.facts)
    if found is None:
        return warning("the machine's clock could not be read", "look at: date")
    if found < NOTABLE:
        return passed("its clock agrees with this computer's")
    told = f"its clock is at least {found:.1f} s from this computer's"
    remedy = "set it, and let a time service keep it: systemctl enable --now systemd-timesyncd"
    return failure(told, remedy) if found > TOO_FAR else warning(told, remedy)


def synchronised(looked: Looked) -> Outcome:
    if looked.facts.contained:
        return passed("a container has its host's clock")
    if looked.facts["synchronised"] == "yes":
        return passed("a time service keeps the clock")
    return warning("no time service keeps the clock", "install systemd-timesyncd or chrony")


def apart(facts: Facts) -> float | None:
    """By how much the clocks differ for sure: the machine's first and last look lie between ours."""
    first, last = facts.number("clock-first"), facts.number("clock-last")
    if first is None or last is None:
        return None
    return max(0.0, facts.began - first, last - facts.ended)
