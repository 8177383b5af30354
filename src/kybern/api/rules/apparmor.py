"""AppArmor profiles, once annotations and now fields: what the annotations say is written into the fields."""

from kybern.machinery.kind import Raw

_PREFIX = "container.apparmor.security.beta.kubernetes.io/"
_LOCAL = "localhost/"


def _profile(text: str) -> Raw | None:
    if text == "unconfined":
        return {"type": "Unconfined"}
    if text == "runtime/default":
        return {"type": "RuntimeDefault"}
    if text.startswith(_LOCAL):
        return {"type": "Localhost", "localhostProfile": text.removeprefix(_LOCAL)}
    return None


def from_annotations(pod: Raw) -> None:
    annotations = (pod.get("metadata") or {}).get("annotations") or {}
    if not any(key.startswith(_PREFIX) for key in annotations):
        return
    for kind in ("initContainers", "containers"):
        for container in pod["spec"].get(kind) or ():
            profile = _profile(annotations.get(_PREFIX + container.get("name", ""), ""))
            if profile is not None:
                container.setdefault("securityContext", {}).setdefault("appArmorProfile", profile)
