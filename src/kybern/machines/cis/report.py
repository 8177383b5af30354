"""What all controls find, a line each; of machines, the worst is told first. Pure."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from kybern.machines.cis.controls import CONTROLS
from kybern.machines.cis.record import ORDER, Control, Finding, Level, Objects, Outcome, Place, unknown
from kybern.machines.topology import Cluster

STATES = {0: "OK", 1: "WARNING", 2: "CRITICAL", 3: "UNKNOWN"}


def findings(
    cluster: Cluster,
    places: Mapping[str, Place],
    objects: Objects,
    controls: Sequence[Control] = CONTROLS,
) -> tuple[Finding, ...]:
    """In the benchmark's order. A control that machines differ in has a line for each thing that is said of some."""
    return tuple(line for control in controls for line in _lines(cluster, places, objects, control))


def _lines(
    cluster: Cluster, places: Mapping[str, Place], objects: Objects, control: Control
) -> Iterator[Finding]:
    if control.weigh is not None:
        yield _finding(control, control.weigh(objects), ())
        return
    outcomes: dict[Outcome, list[str]] = {}
    for machine in cluster.machines:
        if control.judge is not None and control.scope.holds(machine):
            place = places.get(machine.name)
            outcome = control.judge(place) if place and place.texts else unknown("it does not answer")
            outcomes.setdefault(outcome, []).append(machine.name)
    for outcome in sorted(outcomes, key=lambda one: ORDER.index(one.level)):
        yield _finding(control, outcome, tuple(outcomes[outcome]))


def _finding(control: Control, outcome: Outcome, machines: tuple[str, ...]) -> Finding:
    return Finding(control.number, outcome.level, control.wants, outcome.said, outcome.why, machines)


def counts(found: Iterable[Finding]) -> Mapping[Level, int]:
    """How many controls stand how; one with several lines counts by its worst."""
    worst: dict[str, Level] = {}
    for one in found:
        before = worst.get(one.number, Level.PASSED)
        worst[one.number] = min(before, one.level, key=ORDER.index)
    return {level: sum(each is level for each in worst.values()) for level in ORDER}


def code(found: Iterable[Finding]) -> int:
    """As monitoring plugins end: 2 for a failure, 3 when something could not be seen, 1 for something to weigh, else 0."""
    levels = {one.level for one in found}
    for level, number in ((Level.FAILED, 2), (Level.UNKNOWN, 3), (Level.REVIEW, 1)):
        if level in levels:
            return number
    return 0


def line(found: Sequence[Finding]) -> str:
    """The whole in one line, for monitoring."""
    told = counts(found)
    bad = sorted({one.number for one in found if one.level in (Level.FAILED, Level.UNKNOWN)})
    named = f" ({', '.join(bad)})" if bad else ""
    sums = ", ".join(f"{number} {level}" for level, number in told.items())
    return f"CIS {STATES[code(found)]} - {sums}{named}"
