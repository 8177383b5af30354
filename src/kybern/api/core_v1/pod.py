"""Pod: containers that run together on one node."""

from collections.abc import Iterable

from kybern.api.rules import apparmor, labelkeys, podstatus, podtable, qos
from kybern.api.rules.pods import warnings
from kybern.api.rules.pods.spec import new_pod
from kybern.api.rules.pods.updates import update
from kybern.api.rules.podspec import default_pod
from kybern.api.rules.subresources import status
from kybern.api.rules.tables import dig, text
from kybern.machinery.errors import Cause
from kybern.machinery.kind import Kind, Raw, Rules, Subresource, wish_changed


def _ips(raw: Raw) -> str:
    return ",".join(found.get("ip", "") for found in dig(raw, "status", "podIPs") or ())


_SELECTABLE = {
    "spec.nodeName": lambda raw: text(dig(raw, "spec", "nodeName")),
    "spec.restartPolicy": lambda raw: text(dig(raw, "spec", "restartPolicy")),
    "spec.schedulerName": lambda raw: text(dig(raw, "spec", "schedulerName")),
    "spec.serviceAccountName": lambda raw: text(dig(raw, "spec", "serviceAccountName")),
    "spec.hostNetwork": lambda raw: "true" if dig(raw, "spec", "hostNetwork") else "false",
    "status.phase": lambda raw: text(dig(raw, "status", "phase")),
    "status.podIP": lambda raw: text(dig(raw, "status", "podIP")),
    "status.podIPs": _ips,
    "status.nominatedNodeName": lambda raw: text(dig(raw, "status", "nominatedNodeName")),
}


def _graceful(raw: Raw, asked: int | None) -> int | None:
    """How long the containers get. What runs nowhere, or no longer, needs no time; below zero means at least a second."""
    spec = raw.get("spec") or {}
    period = asked if asked is not None else spec.get("terminationGracePeriodSeconds")
    if period is None:
        period = 30
    if not spec.get("nodeName") or dig(raw, "status", "phase") in ("Failed", "Succeeded"):
        return 0
    return 1 if period < 0 else int(period)


_GATED = {
    "type": "PodScheduled",
    "status": "False",
    "lastProbeTime": None,
    "lastTransitionTime": None,
    "reason": "SchedulingGated",
    "message": "Scheduling is blocked due to non-empty scheduling gates",
}


def _on_create(raw: Raw) -> None:
    spec = raw["spec"]
    apparmor.from_annotations(raw)
    labelkeys.merge(spec, raw["metadata"].get("labels") or {})
    if spec["terminationGracePeriodSeconds"] < 0:
        spec["terminationGracePeriodSeconds"] = 1
    raw["status"] = {"phase": "Pending", "qosClass": qos.class_of(spec)}
    if spec.get("schedulingGates"):
        now = raw["metadata"].get("creationTimestamp")
        raw["status"]["conditions"] = [{**_GATED, "lastTransitionTime": now}]


def _on_status(new: Raw, old: Raw) -> None:
    """The class never changes, owners do not come through status, and addresses have two names each."""
    status_ = new.setdefault("status", {})
    status_.setdefault("qosClass", dig(old, "status", "qosClass") or qos.class_of(old["spec"]))
    podstatus.pair_addresses(status_)
    owners = dig(old, "metadata", "ownerReferences")
    new["metadata"].pop("ownerReferences", None)
    if owners:
        new["metadata"]["ownerReferences"] = owners


def _validate(new: Raw, old: Raw | None) -> Iterable[Cause]:
    return new_pod(new) if old is None else update(new, old)


KIND = Kind(
    group="",
    version="v1",
    kind="Pod",
    plural="pods",
    namespaced=True,
    schema="io.k8s.api.core.v1.Pod",
    singular="pod",
    short_names=("po",),
    categories=("all",),
    storage="pods",
    subresources=(
        Subresource(
            "attach",
            "PodAttachOptions",
            verbs=(
                "create",
                "get",
            ),
        ),
        Subresource("binding", "Binding", verbs=("create",)),
        Subresource("ephemeralcontainers", "Pod"),
        Subresource("eviction", "Eviction", "policy", verbs=("create",)),
        Subresource(
            "exec",
            "PodExecOptions",
            verbs=(
                "create",
                "get",
            ),
        ),
        Subresource("log", "Pod", verbs=("get",)),
        Subresource(
            "portforward",
            "PodPortForwardOptions",
            verbs=(
                "create",
                "get",
            ),
        ),
        Subresource(
            "proxy",
            "PodProxyOptions",
            verbs=(
                "create",
                "delete",
                "get",
                "patch",
                "update",
            ),
        ),
        Subresource("resize", "Pod"),
        status("Pod"),
    ),
    selectable=_SELECTABLE,
    table=podtable.TABLE,
    rules=Rules(
        default=default_pod,
        on_create=_on_create,
        validate=_validate,
        validate_status=podstatus.addresses,
        warnings=warnings.pod,
        on_status=_on_status,
    ),
    graceful=_graceful,
    storage_version_hash="xPOwRZ+Yhw8=",
    generation=wish_changed,
)
