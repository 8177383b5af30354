"""Keep as many pods as ``spec.replicas`` of a replication controller asks for: what replica sets were before them.

Reads ReplicationController, Pod. Writes Pod, ReplicationController.status. What it decides is in
``kybern.loop.replicas``, which it shares with replica sets; a selector is a plain map here.
"""

from kybern.api.core_v1 import (
    ReplicationController,
    ReplicationControllerCondition,
    ReplicationControllerStatus,
)
from kybern.api.meta_v1 import LabelSelector
from kybern.loop import replicas
from kybern.loop.controller import Controller
from kybern.loop.settings import Settings


def selector(of: ReplicationController) -> LabelSelector:
    """The map as a selector; the API server fills it in from the template when it is left out."""
    return LabelSelector(match_labels=of.spec.selector)


FAMILY = replicas.Family(
    ReplicationController, ReplicationControllerStatus, ReplicationControllerCondition, selector
)


def controller(_settings: Settings) -> Controller[replicas.State]:
    return replicas.controller("replicationcontroller-controller", FAMILY, "replication-controller")
