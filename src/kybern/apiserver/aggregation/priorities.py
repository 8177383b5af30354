"""Which groups and versions come first where several are listed; upstream's numbers. Pure.

A group's number decides between groups that have a resource of the same name, and the order of discovery; a version's
number which of a group's versions is preferred.
"""

from collections.abc import Mapping
from dataclasses import dataclass

GROUP, PLURAL = "apiregistration.k8s.io", "apiservices"


@dataclass(frozen=True, slots=True)
class Priority:
    group: int
    version: int


_FIRST = Priority(20001, 15)
_CUSTOM = Priority(1000, 100)
_STABLE = 15
_GROUPS: Mapping[str, int] = {
    "": 18000,
    "apps": 17800,
    "events.k8s.io": 17750,
    "authentication.k8s.io": 17700,
    "authorization.k8s.io": 17600,
    "autoscaling": 17500,
    "batch": 17400,
    "certificates.k8s.io": 17300,
    "networking.k8s.io": 17200,
    "policy": 17100,
    "rbac.authorization.k8s.io": 17000,
    "storage.k8s.io": 16800,
    "admissionregistration.k8s.io": 16700,
    "apiextensions.k8s.io": 16700,
    "scheduling.k8s.io": 16600,
    "coordination.k8s.io": 16500,
    "node.k8s.io": 16300,
    "discovery.k8s.io": 16200,
    "resource.k8s.io": 16200,
    "flowcontrol.apiserver.k8s.io": 16100,
    "storagemigration.k8s.io": 15800,
}
_VERSIONS: Mapping[tuple[str, str], int] = {
    ("", "v1"): 1,
    ("autoscaling", "v2"): 30,
    ("certificates.k8s.io", "v1beta1"): 9,
    ("certificates.k8s.io", "v1alpha1"): 1,
    ("flowcontrol.apiserver.k8s.io", "v1"): 21,
    ("storagemigration.k8s.io", "v1beta1"): 9,
}


def of(group: str, version: str) -> Priority:
    """Of a group version that this server answers itself. Groups that are not known are custom ones."""
    if group == GROUP:
        return _FIRST
    number = _GROUPS.get(group)
    return _CUSTOM if number is None else Priority(number, _VERSIONS.get((group, version), _STABLE))


def built_in(group: str) -> bool:
    return group in _GROUPS
