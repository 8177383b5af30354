"""The plugins, one file each. PLUGINS is upstream's default profile; its order is that in which hooks of a point run."""

from kybern.scheduler.framework import Plugin
from kybern.scheduler.plugins import (
    balanced_allocation,
    default_binder,
    default_preemption,
    dynamic_resources,
    image_locality,
    inter_pod_affinity,
    node_affinity,
    node_name,
    node_ports,
    node_resources_fit,
    node_unschedulable,
    pod_topology_spread,
    priority_sort,
    scheduling_gates,
    taint_toleration,
    volume_binding,
)

PLUGINS: tuple[Plugin, ...] = (
    scheduling_gates.PLUGIN,
    priority_sort.PLUGIN,
    node_unschedulable.PLUGIN,
    node_name.PLUGIN,
    taint_toleration.PLUGIN,
    node_affinity.PLUGIN,
    node_ports.PLUGIN,
    node_resources_fit.PLUGIN,
    volume_binding.PLUGIN,
    pod_topology_spread.PLUGIN,
    inter_pod_affinity.PLUGIN,
    dynamic_resources.PLUGIN,
    default_preemption.PLUGIN,
    balanced_allocation.PLUGIN,
    image_locality.PLUGIN,
    default_binder.PLUGIN,
)
