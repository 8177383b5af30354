"""Admission plugins, in upstream's order: that of this tuple is the order of running. One file and one line each."""

from kybern.admission.framework import Plugin
from kybern.admission.plugins import (
    default_toleration_seconds,
    namespace_lifecycle,
    node_restriction,
    priority,
    service_account,
    taint_nodes_by_condition,
)

PLUGINS: tuple[Plugin, ...] = (
    namespace_lifecycle.PLUGIN,
    service_account.PLUGIN,
    node_restriction.PLUGIN,
    taint_nodes_by_condition.PLUGIN,
    priority.PLUGIN,
    default_toleration_seconds.PLUGIN,
)
