"""Every kind of the API, in the order of discovery. To add a kind: one file beside its group's types, one line here.

KINDS are served by default, OPTIONAL only when they are switched on.
"""

from collections.abc import Mapping

from kybern.api.admissionregistration_v1 import (
    mutatingadmissionpolicy,
    mutatingadmissionpolicybinding,
    mutatingwebhookconfiguration,
    validatingadmissionpolicy,
    validatingadmissionpolicybinding,
    validatingwebhookconfiguration,
)
from kybern.api.apiextensions_v1 import (
    customresourcedefinition,
)
from kybern.api.apiregistration_v1 import (
    apiservice,
)
from kybern.api.apps_v1 import (
    controllerrevision,
    daemonset,
    deployment,
    replicaset,
    statefulset,
)
from kybern.api.authentication_v1 import (
    selfsubjectreview,
    tokenreview,
)
from kybern.api.authorization_v1 import (
    localsubjectaccessreview,
    selfsubjectaccessreview,
    selfsubjectrulesreview,
    subjectaccessreview,
)
from kybern.api.autoscaling_v1 import (
    horizontalpodautoscaler as horizontalpodautoscaler_v1,
)
from kybern.api.autoscaling_v2 import (
    horizontalpodautoscaler,
)
from kybern.api.batch_v1 import (
    cronjob,
    job,
)
from kybern.api.certificates_v1 import (
    certificatesigningrequest,
)
from kybern.api.certificates_v1alpha1 import (
    clustertrustbundle as clustertrustbundle_v1alpha1,
)
from kybern.api.certificates_v1beta1 import (
    clustertrustbundle,
)
from kybern.api.coordination_v1 import (
    lease,
)
from kybern.api.core_v1 import (
    binding,
    componentstatus,
    configmap,
    endpoints,
    event,
    limitrange,
    namespace,
    node,
    persistentvolume,
    persistentvolumeclaim,
    pod,
    podtemplate,
    replicationcontroller,
    resourcequota,
    secret,
    service,
    serviceaccount,
)
from kybern.api.discovery_v1 import (
    endpointslice,
)
from kybern.api.events_v1 import (
    event as events_event,
)
from kybern.api.flowcontrol_v1 import (
    flowschema,
    prioritylevelconfiguration,
)
from kybern.api.networking_v1 import (
    ingress,
    ingressclass,
    ipaddress,
    networkpolicy,
    servicecidr,
)
from kybern.api.node_v1 import (
    runtimeclass,
)
from kybern.api.policy_v1 import (
    poddisruptionbudget,
)
from kybern.api.rbac_v1 import (
    clusterrole,
    clusterrolebinding,
    role,
    rolebinding,
)
from kybern.api.resource_v1 import (
    deviceclass,
    resourceclaim,
    resourceclaimtemplate,
    resourceslice,
)
from kybern.api.rules import trustbundles
from kybern.api.scheduling_v1 import (
    priorityclass,
)
from kybern.api.storage_v1 import (
    csidriver,
    csinode,
    csistoragecapacity,
    storageclass,
    volumeattachment,
    volumeattributesclass,
)
from kybern.api.storagemigration_v1beta1 import storageversionmigration
from kybern.machinery.kind import Kind

KINDS: tuple[Kind, ...] = (
    binding.KIND,
    componentstatus.KIND,
    configmap.KIND,
    endpoints.KIND,
    event.KIND,
    limitrange.KIND,
    namespace.KIND,
    node.KIND,
    persistentvolumeclaim.KIND,
    persistentvolume.KIND,
    pod.KIND,
    podtemplate.KIND,
    replicationcontroller.KIND,
    resourcequota.KIND,
    secret.KIND,
    serviceaccount.KIND,
    service.KIND,
    apiservice.KIND,
    controllerrevision.KIND,
    daemonset.KIND,
    deployment.KIND,
    replicaset.KIND,
    statefulset.KIND,
    events_event.KIND,
    selfsubjectreview.KIND,
    tokenreview.KIND,
    localsubjectaccessreview.KIND,
    selfsubjectaccessreview.KIND,
    selfsubjectrulesreview.KIND,
    subjectaccessreview.KIND,
    horizontalpodautoscaler.KIND,
    horizontalpodautoscaler_v1.KIND,
    cronjob.KIND,
    job.KIND,
    certificatesigningrequest.KIND,
    ingressclass.KIND,
    ingress.KIND,
    ipaddress.KIND,
    networkpolicy.KIND,
    servicecidr.KIND,
    poddisruptionbudget.KIND,
    clusterrolebinding.KIND,
    clusterrole.KIND,
    rolebinding.KIND,
    role.KIND,
    csidriver.KIND,
    csinode.KIND,
    csistoragecapacity.KIND,
    storageclass.KIND,
    volumeattachment.KIND,
    volumeattributesclass.KIND,
    mutatingadmissionpolicy.KIND,
    mutatingadmissionpolicybinding.KIND,
    mutatingwebhookconfiguration.KIND,
    validatingadmissionpolicy.KIND,
    validatingadmissionpolicybinding.KIND,
    validatingwebhookconfiguration.KIND,
    customresourcedefinition.KIND,
    priorityclass.KIND,
    lease.KIND,
    runtimeclass.KIND,
    endpointslice.KIND,
    deviceclass.KIND,
    resourceclaim.KIND,
    resourceclaimtemplate.KIND,
    resourceslice.KIND,
    flowschema.KIND,
    prioritylevelconfiguration.KIND,
)
OPTIONAL: tuple[Kind, ...] = (
    clustertrustbundle.KIND,
    clustertrustbundle_v1alpha1.KIND,
    storageversionmigration.KIND,
)
GATES: Mapping[tuple[str, str], str] = {
    (clustertrustbundle.KIND.group, clustertrustbundle.KIND.version): trustbundles.GATE,
    (clustertrustbundle_v1alpha1.KIND.group, clustertrustbundle_v1alpha1.KIND.version): trustbundles.GATE,
    (storageversionmigration.KIND.group, storageversionmigration.KIND.version): storageversionmigration.GATE,
}
"""The feature gate that a group and version needs beside being switched on."""

_BY_RESOURCE: Mapping[tuple[str, str, str], Kind] = {
    (kind.group, kind.version, kind.plural): kind for kind in (*KINDS, *OPTIONAL)
}
_BY_KIND: Mapping[tuple[str, str, str], Kind] = {
    (kind.group, kind.version, kind.kind): kind for kind in (*KINDS, *OPTIONAL)
}


def of_resource(group: str, version: str, plural: str) -> Kind | None:
    """The kind that a path names, e.g. ``("apps", "v1", "deployments")``."""
    return _BY_RESOURCE.get((group, version, plural))


def of_kind(group: str, version: str, kind: str) -> Kind | None:
    """The kind that a body names, e.g. ``("apps", "v1", "Deployment")``."""
    return _BY_KIND.get((group, version, kind))
