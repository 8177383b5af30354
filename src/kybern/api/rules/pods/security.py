"""Security contexts of pods and containers, and what the operating system of a pod rules out."""

import re
from collections.abc import Iterator

from kybern.api.rules.causes import duplicate, forbidden, in_range, invalid, not_supported, required
from kybern.api.rules.paths import below
from kybern.machinery.errors import Cause
from kybern.machinery.kind import Raw

_MAX_ID = 2147483647
_SYSCTL_RULE = r"^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$"
_SYSCTL = re.compile(_SYSCTL_RULE)
_PROFILES = ("Localhost", "RuntimeDefault", "Unconfined")
_NOT_ON_WINDOWS = "cannot be set for a windows pod"
_NOT_ON_LINUX = "windows options cannot be set for a linux pod"
_POD_ON_LINUX_ONLY = (
    "appArmorProfile", "seLinuxOptions", "hostPID", "hostIPC", "seccompProfile", "fsGroup", "fsGroupChangePolicy",
    "sysctls", "shareProcessNamespace", "runAsUser", "runAsGroup", "supplementalGroups", "supplementalGroupsPolicy",
)  # fmt: skip
_CONTAINER_ON_LINUX_ONLY = (
    "appArmorProfile", "seLinuxOptions", "seccompProfile", "capabilities", "readOnlyRootFilesystem", "privileged",
    "allowPrivilegeEscalation", "procMount", "runAsUser", "runAsGroup",
)  # fmt: skip
_OF_SPEC = ("hostPID", "hostIPC", "shareProcessNamespace")
_KINDS = ("initContainers", "containers", "ephemeralContainers")


def _ids(field: str, context: Raw, *keys: str) -> Iterator[Cause]:
    for key in keys:
        if context.get(key) is not None:
            yield from in_range(f"{field}.{key}", context[key], 0, _MAX_ID)


def _sysctls(field: str, found: list[Raw]) -> Iterator[Cause]:
    names: set[str] = set()
    for i, entry in enumerate(found):
        at, name = f"{field}[{i}].name", entry.get("name", "")
        if not name:
            yield required(at)
        elif len(name) > 253 or not _SYSCTL.fullmatch(name):
            yield invalid(at, name, f"must have at most 253 characters and match regex {_SYSCTL_RULE}")
        elif name.replace("/", ".") in names:
            yield duplicate(at, name)
        names.add(name.replace("/", "."))


def _profile(field: str, context: Raw, key: str, what: str) -> Iterator[Cause]:
    """A profile of seccomp or AppArmor."""
    profile = context.get(key)
    if profile is None:
        return
    at, kind, local = f"{field}.{key}", profile.get("type", ""), profile.get("localhostProfile")
    if not kind:
        yield required(f"{at}.type", f"type is required when {key} is set")
    elif kind not in _PROFILES:
        yield not_supported(f"{at}.type", kind, _PROFILES)
    if kind == "Localhost":
        if not local:
            yield required(f"{at}.localhostProfile", f"must be set when {what} type is Localhost")
        else:
            yield from below(f"{at}.localhostProfile", local)
    elif local is not None:
        yield invalid(f"{at}.localhostProfile", local, f"can only be set when {what} type is Localhost")


def _choice(field: str, value: str | None, choices: tuple[str, ...]) -> Iterator[Cause]:
    if value is not None and value not in choices:
        yield not_supported(field, value, choices)


def pod(field: str, spec: Raw) -> Iterator[Cause]:
    context = spec.get("securityContext") or {}
    if spec.get("shareProcessNamespace") and spec.get("hostPID"):
        text = "ShareProcessNamespace and HostPID cannot both be enabled"
        yield invalid(f"{field}.shareProcessNamespace", True, text)
    yield from _ids(field, context, "fsGroup", "runAsUser", "runAsGroup")
    for i, group in enumerate(context.get("supplementalGroups") or ()):
        yield from in_range(f"{field}.supplementalGroups[{i}]", group, 0, _MAX_ID)
    yield from _sysctls(f"{field}.sysctls", context.get("sysctls") or [])
    policy = context.get("fsGroupChangePolicy")
    yield from _choice(f"{field}.fsGroupChangePolicy", policy, ("OnRootMismatch", "Always"))
    yield from _profile(field, context, "seccompProfile", "seccomp")
    yield from _profile(field, context, "appArmorProfile", "AppArmor")
    policy = context.get("supplementalGroupsPolicy")
    yield from _choice(f"{field}.supplementalGroupsPolicy", policy, ("Merge", "Strict"))


def container(field: str, context: Raw, spec: Raw) -> Iterator[Cause]:
    yield from _ids(field, context, "runAsUser", "runAsGroup")
    mount = context.get("procMount")
    yield from _choice(f"{field}.procMount", mount, ("Default", "Unmasked"))
    if mount == "Unmasked" and spec.get("hostUsers") is not False:
        yield invalid(f"{field}.procMount", mount, "`hostUsers` must be false to use `Unmasked`")
    yield from _profile(field, context, "seccompProfile", "seccomp")
    if context.get("allowPrivilegeEscalation") is False:
        added = (context.get("capabilities") or {}).get("add") or ()
        if context.get("privileged"):
            text = "cannot set `allowPrivilegeEscalation` to false and `privileged` to true"
            yield invalid(field, context, text)
        if "CAP_SYS_ADMIN" in added:
            text = "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN"
            yield invalid(field, context, text)
    yield from _profile(field, context, "appArmorProfile", "AppArmor")


def privileged(field: str, spec: Raw) -> Iterator[Cause]:
    """For a server that allows no privileged containers (--allow-privileged=false, upstream's default)."""
    for kind in _KINDS:
        for i, found in enumerate(spec.get(kind) or ()):
            if (found.get("securityContext") or {}).get("privileged"):
                at = f"{field}.{kind}[{i}].securityContext.privileged"
                yield forbidden(at, "disallowed by cluster policy")


def operating_system(field: str, spec: Raw) -> Iterator[Cause]:
    os = spec.get("os")
    if os is None:
        return
    match os.get("name", ""):
        case "":
            yield required(f"{field}.os.name")
        case "linux":
            yield from _linux(field, spec)
        case "windows":
            yield from _windows(field, spec)
        case name:
            yield not_supported(f"{field}.os", name, ("linux", "windows"))


def _contexts(field: str, spec: Raw) -> Iterator[tuple[str, Raw]]:
    for kind in _KINDS:
        for i, found in enumerate(spec.get(kind) or ()):
            if found.get("securityContext"):
                yield f"{field}.{kind}[{i}].securityContext", found["securityContext"]


def _linux(field: str, spec: Raw) -> Iterator[Cause]:
    own = (f"{field}.securityContext", spec.get("securityContext") or {})
    for at, context in (own, *_contexts(field, spec)):
        if context.get("windowsOptions") is not None:
            yield forbidden(f"{at}.windowsOptions", _NOT_ON_LINUX)


def _windows(field: str, spec: Raw) -> Iterator[Cause]:
    context = spec.get("securityContext") or {}
    for key in _POD_ON_LINUX_ONLY:
        holder = spec if key in _OF_SPEC else context
        if holder.get(key) not in (None, False, []):
            yield forbidden(f"{field}.securityContext.{key}", _NOT_ON_WINDOWS)
    if spec.get("hostUsers") is not None:
        yield forbidden(f"{field}.hostUsers", _NOT_ON_WINDOWS)
    for at, found in _contexts(field, spec):
        for key in _CONTAINER_ON_LINUX_ONLY:
            if found.get(key) is not None:
                yield forbidden(f"{at}.{key}", _NOT_ON_WINDOWS)
