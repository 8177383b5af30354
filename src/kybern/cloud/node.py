"""Make nodes what their machines are, and let pods onto them: provider ID, addresses, zone, region and size.

Reads Node. Writes Node.spec.providerID, Node.spec.taints, Node.metadata.labels, Node.status.addresses.

A kubelet with --cloud-provider=external registers its node with a taint that keeps pods off; it goes in the write that
brings the provider ID and the labels, so that nothing is placed by half of them. Addresses and further labels follow the
machine from then on, asked for once in --node-status-update-frequency and not at every heartbeat. The older names of the
labels are written, too, and rule: who changes one finds the newer name changed (upstream's rule, until they go).
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from kybern.api.core_v1 import Node
from kybern.api.taints import UNINITIALIZED
from kybern.cloud.addresses import Mismatch, addresses_of
from kybern.cloud.errands import FindInstance, FindZone
from kybern.cloud.marks import is_uninitialized, without_taint
from kybern.cloud.provider import Instance, Instances, Zone, Zones
from kybern.cloud.settings import CloudSettings
from kybern.loop.controller import Action, Again, Controller, Emit, Key, Patch, PatchStatus, View
from kybern.machinery.struct import replace

TYPE, OLD_TYPE = "node.kubernetes.io/instance-type", "beta.kubernetes.io/instance-type"
ZONE, OLD_ZONE = "topology.kubernetes.io/zone", "failure-domain.beta.kubernetes.io/zone"
REGION, OLD_REGION = "topology.kubernetes.io/region", "failure-domain.beta.kubernetes.io/region"
OLDER = {OLD_TYPE: TYPE, OLD_ZONE: ZONE, OLD_REGION: REGION}
_KUBERNETES = re.compile(r"(^|\.)(kubernetes|k8s)\.io/")
NOWHERE = Zone()
_AGAIN = 5.0  # seconds, for a node whose machine the cloud does not know yet


@dataclass(frozen=True, slots=True)
class State:
    """``instance``: None when there is none. ``zone``: asked for nodes that wait."""

    node: Node
    instance: Instance | None = None
    zone: Zone = NOWHERE


@dataclass(frozen=True, slots=True)
class Known:
    """What the cloud said, and when."""

    at: datetime
    instance: Instance | None


@dataclass(slots=True)
class Observer:
    """Remembers what the cloud said of a node the last time."""

    instances: Instances
    zones: Zones | None
    every: float
    _known: dict[str, Known] = field(default_factory=dict)

    def observe(self, view: View, key: Key) -> State | None:
        node = view.get(Node, "", key.name)
        if node is None or node.metadata.deletion_timestamp is not None:
            self._known.pop(key.name, None)
            return None
        name, waits = node.metadata.name, is_uninitialized(node)
        before = self._known.get(name)
        if not waits and before is not None and (view.now - before.at).total_seconds() < self.every:
            return State(node, before.instance)
        instance = view.told(FindInstance(self.instances, name, node.spec.provider_id))
        zone = NOWHERE
        if waits and instance is not None and self.zones is not None:
            zone = view.told(FindZone(self.zones, name, instance.provider_id))
        self._known[name] = Known(view.now, instance)
        return State(node, instance, zone)


def diff(state: State) -> Iterable[Action]:
    node, instance = state.node, state.instance
    if not is_uninitialized(node):
        new = replace(node, metadata=replace(node.metadata, labels=_followed(node, instance)))
        if new != node:
            yield Patch(node, new)
        elif instance is not None:
            yield from _addressed(node, instance)
        return
    if instance is None or not (instance.provider_id or node.spec.provider_id):
        # It is written at this one time only, and balancers and volumes go by it: no pods before.
        yield Again(_AGAIN)
        return
    try:
        addresses_of(node, instance.addresses)
    except Mismatch as problem:
        yield Emit(node, "Warning", "CloudAddressMismatch", str(problem))
        yield Again(_AGAIN)
        return
    yield Patch(node, _initialized(node, instance, state.zone))
    yield Emit(node, "Normal", "Synced", "Node synced successfully")


def _initialized(node: Node, instance: Instance, zone: Zone) -> Node:
    said = {
        OLD_TYPE: instance.instance_type,
        TYPE: instance.instance_type,
        OLD_ZONE: zone.zone,
        ZONE: zone.zone,
        OLD_REGION: zone.region,
        REGION: zone.region,
    }
    given = {key: value for key, value in said.items() if value}
    # Who labelled the node otherwise meant it.
    labels = {**_own(instance.labels), **node.metadata.labels, **given}
    free = without_taint(node, UNINITIALIZED)
    spec = replace(free.spec, provider_id=node.spec.provider_id or instance.provider_id)
    return replace(free, metadata=replace(node.metadata, labels=labels), spec=spec)


def _own(labels: Mapping[str, str]) -> Mapping[str, str]:
    return {key: value for key, value in labels.items() if not _KUBERNETES.search(key)}


def _followed(node: Node, instance: Instance | None) -> Mapping[str, str]:
    labels = node.metadata.labels
    newer = {new: labels[old] for old, new in OLDER.items() if old in labels}
    return {**labels, **(_own(instance.labels) if instance is not None else {}), **newer}


def _addressed(node: Node, instance: Instance) -> Iterable[Action]:
    if not instance.addresses:
        return
    try:
        wanted = addresses_of(node, instance.addresses)
    except Mismatch as problem:
        yield Emit(node, "Warning", "CloudAddressMismatch", str(problem))
        return
    if set(wanted) != set(node.status.addresses):
        yield PatchStatus(node, replace(node, status=replace(node.status, addresses=wanted)))


def controller(instances: Instances, zones: Zones | None, told: CloudSettings) -> Controller[State]:
    observer = Observer(instances, zones, told.node_status_update_frequency)
    return Controller(
        "cloud-node-controller",
        Node,
        observer.observe,
        diff,
        every=told.node_status_update_frequency,
        workers=told.concurrent_node_syncs,
        component="node-controller",
        source="cloud-node-controller",
    )
