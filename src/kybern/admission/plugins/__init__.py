"""Admission plugins, in upstream's order: that of this tuple is the order of running. One file and one line each."""

from kybern.admission.framework import Plugin
from kybern.admission.plugins import (
    certificate_approval,
    certificate_signing,
    certificate_subject_restriction,
    default_ingress_class,
    default_storage_class,
    default_toleration_seconds,
    limit_ranger,
    namespace_lifecycle,
    node_restriction,
    persistent_volume_claim_resize,
    pod_resize_validator,
    pod_security,
    pod_topology_labels,
    priority,
    runtime_class,
    service_account,
    storage_object_in_use_protection,
    taint_nodes_by_condition,
)

PLUGINS: tuple[Plugin, ...] = (
    namespace_lifecycle.PLUGIN,
    limit_ranger.PLUGIN,
    service_account.PLUGIN,
    node_restriction.PLUGIN,
    taint_nodes_by_condition.PLUGIN,
    pod_security.PLUGIN,
    priority.PLUGIN,
    default_toleration_seconds.PLUGIN,
    default_storage_class.PLUGIN,
    storage_object_in_use_protection.PLUGIN,
    persistent_volume_claim_resize.PLUGIN,
    runtime_class.PLUGIN,
    certificate_approval.PLUGIN,
    certificate_signing.PLUGIN,
    certificate_subject_restriction.PLUGIN,
    default_ingress_class.PLUGIN,
    pod_topology_labels.PLUGIN,
    pod_resize_validator.PLUGIN,
)
