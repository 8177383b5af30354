"""All checks of machines that are there already, and the report of what they find. Pure."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from kybern.machines.preflight import identity, room, system
from kybern.machines.preflight.clocks import clocks
from kybern.machines.preflight.confinement import confinement
from kybern.machines.preflight.etcd_disk import etcd_disk
from kybern.machines.preflight.firewalls import firewalls
from kybern.machines.preflight.hostnames import hostnames
from kybern.machines.preflight.leftovers import leftovers
from kybern.machines.preflight.modules import modules
from kybern.machines.preflight.ranges import ranges
from kybern.machines.preflight.record import Check, Facts, Level, Looked, Outcome, failure
from kybern.machines.preflight.sources import sources
from kybern.machines.preflight.virtual_address import virtual_address
from kybern.machines.topology import Cluster

CHECKS = (
    Check("distribution", system.distribution),
    Check("python", system.python),
    Check("kernel", system.kernel),
    Check("cgroups", system.cgroups),
    Check("modules", modules),
    Check("swap", system.swap),
    Check("confinement", confinement),
    Check("machine-id", identity.machine_id),
    Check("hardware address", identity.macs),
    Check("address", identity.address),
    Check("hostname", hostnames),
    Check("leftovers", leftovers),
    Check("ranges and domain", ranges),
    Check("firewalls", firewalls),
    Check("ports", identity.ports),
    Check("peers", identity.peers),
    Check("virtual address", virtual_address),
    Check("package sources", sources),
    Check("memory", room.memory),
    Check("disk", room.disk),
    Check("etcd's disk", etcd_disk),
    Check("clock", room.clock),
    Check("clocks", clocks),
    Check("time service", room.synchronised),
)
# ssh and sudo are never asked for a password.
REMEDY = "see that it runs, and that its key, host key and user are the topology's"
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
        Finding(outcome.level, looked.machine.name, name, outcome.said, outcome.why)
        for machine in cluster.machines
        for looked in (Looked(cluster, machine, everybody),)
        for name, outcome in _judged(looked)
    ]
    return tuple(sorted(found, key=lambda one: ORDER.index(one.level)))


def _judged(looked: Looked) -> Iterator[tuple[str, Outcome]]:
    if not looked.facts.texts:
        user = looked.cluster.ssh_user
        if looked.facts.refused:
            rule = f"{user} ALL=(ALL) NOPASSWD: ALL"
            yield (
                "sudo",
                failure(
                    f"{user} may not become root without a password",
                    f"echo '{rule}' >/etc/sudoers.d/kybern, as root",
                ),
            )
        else:
            yield "ssh", failure("does not answer by SSH", REMEDY)
        return
    for check in CHECKS:
        yield check.name, check.judge(looked)
