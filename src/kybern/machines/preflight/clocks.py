"""Whether the machines' clocks agree with each other. Pure."""

from kybern.machines.preflight.record import Facts, Looked, Outcome, failure, passed, warning

# etcd's members tell of each other's clocks from a second on; certificates are valid from a moment on.
NOTABLE, TOO_FAR = 1.0, 60.0  # seconds


def clocks(looked: Looked) -> Outcome:
    """Each pair is told once, at the one whose name comes later."""
    own = between(looked.facts)
    found = [
        (apart(own, theirs), each.name)
        for each, facts in looked.others().items()
        if own and each.name < looked.machine.name and (theirs := between(facts))
    ]
    seconds, name = max(found, default=(0.0, ""))
    if seconds < NOTABLE:
        return passed("its clock agrees with the other machines'")
    told = f"its clock is at least {seconds:.1f} s from that of {name}"
    remedy = "have one time service keep both: systemctl enable --now systemd-timesyncd"
    return failure(told, remedy) if seconds > TOO_FAR else warning(told, remedy)


def between(facts: Facts) -> tuple[float, float] | None:
    """How far the machine's clock is ahead of ours: at least, and at most."""
    first, last = facts.number("clock-first"), facts.number("clock-last")
    if first is None or last is None:
        return None
    return last - facts.ended, first - facts.began


def apart(one: tuple[float, float], other: tuple[float, float]) -> float:
    """By how much two clocks differ for sure."""
    return max(0.0, one[0] - other[1], other[0] - one[1])
