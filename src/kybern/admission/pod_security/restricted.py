"""The level restricted: hardened pods. It asks for what baseline leaves open, and replaces some of its checks."""

from typing import Any

from kybern.admission.pod_security import baseline
from kybern.admission.pod_security.violation import Check, Pod, Violation, quoted, security_of, setters, some

VOLUMES = frozenset({
    "configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "image", "persistentVolumeClaim", "projected", "secret",
})  # fmt: skip


def privilege_escalation(pod: Pod) -> Violation | None:
    if pod.version < 8 or (pod.version >= 25 and pod.on_windows):
        return None
    names = pod.named(lambda container: security_of(container).get("allowPrivilegeEscalation") is not False)
    if not names:
        return None
    text = "must set securityContext.allowPrivilegeEscalation=false"
    return Violation("allowPrivilegeEscalation != false", f"{some('container', names)} {text}")


def capabilities(pod: Pod) -> Violation | None:
    if pod.version < 22:
        return baseline.capabilities(pod)
    if pod.version >= 25 and pod.on_windows:
        return None

    def listed(container: Any, verb: str) -> list[str]:
        return (security_of(container).get("capabilities") or {}).get(verb) or []

    keeping = pod.named(lambda container: "ALL" not in listed(container, "drop"))
    adding = pod.named(lambda container: set(listed(container, "add")) - {"NET_BIND_SERVICE"})
    parts = []
    if keeping:
        parts.append(f'{some("container", keeping)} must set securityContext.capabilities.drop=["ALL"]')
    if adding:
        found = sorted({one for each in pod.containers for one in listed(each, "add")} - {"NET_BIND_SERVICE"})
        text = f"must not include {quoted(found)} in securityContext.capabilities.add"
        parts.append(f"{some('container', adding)} {text}")
    return Violation("unrestricted capabilities", "; ".join(parts)) if parts else None


def volumes(pod: Pod) -> Violation | None:
    found = {
        volume["name"]: source
        for volume in pod.spec.get("volumes") or ()
        for source in volume
        if source != "name" and source not in VOLUMES and volume[source] is not None
    }
    if not found:
        return None
    verb = "uses" if len(found) == 1 else "use"
    text = some("restricted volume type", sorted(set(found.values())))
    return Violation("restricted volume types", f"{some('volume', list(found))} {verb} {text}")


def run_as_non_root(pod: Pod) -> Violation | None:
    if pod.in_user_namespace:
        return None
    whole = pod.security.get("runAsNonRoot")
    refusing = pod.named(lambda container: security_of(container).get("runAsNonRoot") is False)
    silent = pod.named(lambda container: security_of(container).get("runAsNonRoot") is None)
    if refusing or whole is False:
        text = "must not set securityContext.runAsNonRoot=false"
        return Violation("runAsNonRoot != true", f"{setters(whole is False, refusing)} {text}")
    if silent and not whole:
        text = f"pod or {some('container', silent)} must set securityContext.runAsNonRoot=true"
        return Violation("runAsNonRoot != true", text)
    return None


def run_as_user(pod: Pod) -> Violation | None:
    if pod.version < 23 or pod.in_user_namespace:
        return None
    whole = pod.security.get("runAsUser") == 0
    names = pod.named(lambda container: security_of(container).get("runAsUser") == 0)
    return (
        Violation("runAsUser=0", f"{setters(whole, names)} must not set runAsUser=0")
        if whole or names
        else None
    )


def seccomp(pod: Pod) -> Violation | None:
    loose = baseline.seccomp(pod)
    if loose is not None or pod.version < 19 or (pod.version >= 25 and pod.on_windows):
        return loose
    if pod.security.get("seccompProfile"):
        return None
    silent = pod.named(lambda container: not security_of(container).get("seccompProfile"))
    if not silent:
        return None
    text = 'must set securityContext.seccompProfile.type to "RuntimeDefault" or "Localhost"'
    return Violation("seccompProfile", f"pod or {some('container', silent)} {text}")


CHECKS: tuple[Check, ...] = (
    *(check for check in baseline.CHECKS if check not in baseline.REPLACED),
    privilege_escalation, capabilities, volumes, run_as_non_root, run_as_user, seccomp,
)  # fmt: skip
