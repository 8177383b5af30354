"""Which controllers run: upstream's ``--controllers``."""

from collections.abc import Collection, Iterable, Mapping

# A star does not mean these; they have to be named.
_OFF = frozenset({"bootstrap-signer-controller", "token-cleaner-controller"})
# Upstream still takes the names that its controllers had before v1.28.
OLD_NAMES: Mapping[str, str] = {
    "bootstrapsigner": "bootstrap-signer-controller",
    "attachdetach": "persistentvolume-attach-detach-controller",
    "csrapproving": "certificatesigningrequest-approving-controller",
    "csrcleaner": "certificatesigningrequest-cleaner-controller",
    "csrsigning": "certificatesigningrequest-signing-controller",
    "clusterrole-aggregation": "clusterrole-aggregation-controller",
    "cronjob": "cronjob-controller",
    "daemonset": "daemonset-controller",
    "deployment": "deployment-controller",
    "disruption": "disruption-controller",
    "endpoint": "endpoints-controller",
    "endpointslice": "endpointslice-controller",
    "endpointslicemirroring": "endpointslice-mirroring-controller",
    "ephemeral-volume": "ephemeral-volume-controller",
    "garbagecollector": "garbage-collector-controller",
    "horizontalpodautoscaling": "horizontal-pod-autoscaler-controller",
    "job": "job-controller",
    "namespace": "namespace-controller",
    "nodeipam": "node-ipam-controller",
    "nodelifecycle": "node-lifecycle-controller",
    "persistentvolume-binder": "persistentvolume-binder-controller",
    "persistentvolume-expander": "persistentvolume-expander-controller",
    "pv-protection": "persistentvolume-protection-controller",
    "pvc-protection": "persistentvolumeclaim-protection-controller",
    "podgc": "pod-garbage-collector-controller",
    "replicaset": "replicaset-controller",
    "replicationcontroller": "replicationcontroller-controller",
    "root-ca-cert-publisher": "root-ca-certificate-publisher-controller",
    "serviceaccount": "serviceaccount-controller",
    "serviceaccount-token": "serviceaccount-token-controller",
    "statefulset": "statefulset-controller",
    "tokencleaner": "token-cleaner-controller",
    "ttl": "ttl-controller",
    "ttl-after-finished": "ttl-after-finished-controller",
}

# Those that run only with a feature gate, whoever names them.
GATES: Mapping[str, str] = {
    "kube-apiserver-serving-clustertrustbundle-publisher-controller": "ClusterTrustBundle",
    "storage-version-migrator-controller": "StorageVersionMigrator",
}

# Upstream's other controllers, and why they do not run here. All but the first run only with a feature gate that is off by
# default, or with a cloud provider that is built in, of which there is none any more.
ABSENT: Mapping[str, str] = {
    "selinux-warning-controller": "not here; off by default: upstream runs it only when it is named",
    "storageversion-garbage-collector-controller": (
        "feature gates APIServerIdentity and StorageVersionAPI; the latter is alpha and off by default"
    ),
    "podcertificaterequest-cleaner-controller": "feature gate PodCertificateRequest, off by default",
    "service-lb-controller": "the cloud controller manager's",
    "node-route-controller": "the cloud controller manager's",
    "cloud-node-lifecycle-controller": "the cloud controller manager's",
}
_OLD_ABSENT = frozenset({"storage-version-gc", "service", "route", "cloud-node-lifecycle"})
_MISSED = frozenset({"selinux-warning-controller"})


def unknown(wanted: Iterable[str], names: Iterable[str]) -> tuple[str, ...]:
    """What is asked for and does not exist.

    Upstream's other controllers may be switched off, and on where upstream would not run them either.
    """
    absent = {*ABSENT, *_OLD_ABSENT}
    known = {*names, *OLD_NAMES, "*", *(absent - _MISSED)} | {f"-{one}" for one in absent}
    return tuple(one for one in wanted if one not in known and one.removeprefix("-") not in known)


def is_enabled(
    name: str,
    wanted: Iterable[str],
    gates: Collection[str] = (),
    old_names: Mapping[str, str] = OLD_NAMES,
) -> bool:
    """The first that names it decides: ``foo``, ``-foo``; then ``*``, which means those that are on by default.

    ``gates`` are the feature gates that are on: without its own a controller does not run, though it is named.
    """
    if name in GATES and GATES[name] not in gates:
        return False
    star = False
    for one in wanted:
        if old_names.get(one.removeprefix("-"), one.removeprefix("-")) == name:
            return not one.startswith("-")
        star = star or one == "*"
    return star and name not in _OFF
