"""All checks of machines that are there already, and the report of what they find. Pure."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from kybern.machines.preflight import identity, room, system
from kybern.machines.preflight.record import Check, Facts, Level, Looked, Outcome, failure
from kybern.machines.topology import Cluster

CHECKS = (
    Check("distribution", system.distribution),
    Check("python", system.python),
    Check("kernel", system.kernel),
    Check("cgroups", system.cgroups),
    Check("swap", system.swap),
    Check("machine-id", identity.machine_id),
    Check("hardware address", identity.macs),
    Check("address", identity.address),
    Check("ports", identity.ports),
    Check("peers", identity.peers),
    Check("memory", room.memory),
    Check("disk", room.disk),
    Check("clock", room.clock),
    Check("time service", room.synchronised),
)
# ssh and sudo are never asked for a password.
REMEDY = (
    "see that it runs, that its key, host key and user are the topology's, "
    "and that the user may sudo without a password"
)
ORDER = (Level.FAILURE, Level.WARNING, Level.PASSED)


@dataclass(frozen=True, slots=True)
class Finding:
    """A line of the report."""

    level: Level
    machine: str
    check: str
    said: str
    remedy: str


def findings(cluster: Cluster, everybody: Mapping[str, Facts]) -> tuple[Finding, ...]:
    """What all checks find of all machines, the worst first."""
    found = [
        Finding(outcome.level, looked.machine.name, name, outcome.said, outcome.remedy)
        for machine in cluster.machines
        for looked in (Looked(cluster, machine, everybody),)
        for name, outcome in _judged(looked)
    ]
    return tuple(sorted(found, key=lambda one: ORDER.index(one.level)))


def _judged(looked: Looked) -> Iterator[tuple[str, Outcome]]:
    if not looked.facts.texts:
        yield "ssh", failure("does not answer by SSH, or gives us no root", REMEDY)
        return
    for check in CHECKS:
        yield check.name, check.judge(looked)
