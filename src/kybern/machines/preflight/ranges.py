"""Whether the topology has the addresses and the domain that a cluster was deployed with. Pure."""

from kybern.machines import settled
from kybern.machines.preflight.record import Looked, Outcome, failure, passed

ASKED = settled.ASKED


def ranges(looked: Looked) -> Outcome:
    if why := settled.refusal(
        looked.cluster, looked.machine.name, settled.told(looked.facts.lines("settled"))
    ):
        said, _, remedy = why.partition(". ")
        return failure(said, remedy)
    return passed("has no other ranges or domain than the topology")
