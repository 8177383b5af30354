"""Do not try a pod as long as it has scheduling gates. The API server says so in its condition (SchedulingGated)."""

from kybern.api.core_v1 import Pod
from kybern.scheduler.framework import Plugin


def pre_enqueue(pod: Pod) -> str | None:
    gates = " ".join(gate.name for gate in pod.spec.scheduling_gates)
    return f"waiting for scheduling gates: [{gates}]" if gates else None


PLUGIN = Plugin("SchedulingGates", pre_enqueue=pre_enqueue)
