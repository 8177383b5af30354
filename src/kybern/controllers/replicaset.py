"""Keep as many pods as ``spec.replicas`` of a replica set asks for.

Reads ReplicaSet, Pod. Writes Pod, ReplicaSet.status. What it decides is in ``kybern.loop.replicas``, which it shares
with replication controllers.
"""

from kybern.api.apps_v1 import ReplicaSet, ReplicaSetCondition, ReplicaSetStatus
from kybern.loop import replicas
from kybern.loop.controller import Controller
from kybern.loop.settings import Settings

FAMILY = replicas.Family(
    ReplicaSet, ReplicaSetStatus, ReplicaSetCondition, lambda one: one.spec.selector, terminating=True
)


def controller(_settings: Settings) -> Controller[replicas.State]:
    return replicas.controller("replicaset-controller", FAMILY)
