"""The control loops of kube-controller-manager, one file each."""

from collections.abc import Callable
from typing import Any

from kybern.controllers import (
    certificate_approving,
    certificate_signing,
    clusterrole_aggregation,
    cronjob,
    daemonset,
    deployment,
    disruption,
    endpoints,
    endpointslice,
    garbage_collector,
    job,
    namespace,
    node_ipam,
    node_lifecycle,
    persistentvolume_protection,
    persistentvolumeclaim_protection,
    pod_garbage_collector,
    replicaset,
    replicationcontroller,
    resourcequota,
    root_ca_certificate_publisher,
    serviceaccount,
    statefulset,
    taint_eviction,
    volumeattributesclass_protection,
)
from kybern.loop.controller import Controller
from kybern.loop.settings import Settings

CONTROLLERS: tuple[Callable[[Settings], Controller[Any]], ...] = (
    certificate_approving.controller,
    certificate_signing.controller,
    clusterrole_aggregation.controller,
    cronjob.controller,
    daemonset.controller,
    deployment.controller,
    disruption.controller,
    endpoints.controller,
    endpointslice.controller,
    garbage_collector.controller,
    job.controller,
    namespace.controller,
    node_ipam.controller,
    node_lifecycle.controller,
    persistentvolume_protection.controller,
    persistentvolumeclaim_protection.controller,
    pod_garbage_collector.controller,
    replicaset.controller,
    replicationcontroller.controller,
    resourcequota.controller,
    root_ca_certificate_publisher.controller,
    serviceaccount.controller,
    statefulset.controller,
    taint_eviction.controller,
    volumeattributesclass_protection.controller,
)
