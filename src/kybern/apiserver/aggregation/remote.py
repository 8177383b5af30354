"""What an APIService says: who answers for a group and version, and whether it can. Pure."""

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from kybern.apiserver.services.reach import tls_name
from kybern.auth.user import MASTERS, User
from kybern.machinery.kind import Raw

AVAILABLE = "Available"
OURSELVES = User("system:kube-aggregator", (MASTERS,))
_FIELD_BYTES = frozenset(b"!#$&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz")


@dataclass(frozen=True, slots=True)
class Trust:
    """How the server of a Service proves who it is. No authorities: the system's."""

    name: str
    authorities: bytes = b""
    verify: bool = True


@dataclass(frozen=True, slots=True)
class Remote:
    """A group version that a Service answers for."""

    group: str
    version: str
    namespace: str
    service: str
    port: int
    trust: Trust
    available: bool
    group_priority: int
    version_priority: int

    @property
    def name(self) -> str:
        return f"{self.version}.{self.group}"

    @property
    def path(self) -> str:
        return f"/apis/{self.group}/{self.version}"


def remote(raw: Raw) -> Remote | None:
    """None for what this server answers itself."""
    spec = raw["spec"]
    service = spec.get("service")
    if not service or not spec.get("group"):
        return None
    namespace, name = service.get("namespace") or "", service.get("name") or ""
    verify = not spec.get("insecureSkipTLSVerify")
    trust = Trust(tls_name(namespace, name), _decoded(spec.get("caBundle")), verify)
    return Remote(
        spec["group"],
        spec["version"],
        namespace,
        name,
        service.get("port") or 443,
        trust,
        (condition(raw) or {}).get("status") == "True",
        spec.get("groupPriorityMinimum") or 0,
        spec.get("versionPriority") or 0,
    )


def _decoded(text: Any) -> bytes:
    try:
        return base64.b64decode(text or "")
    except binascii.Error:
        return b""


def condition(raw: Raw) -> Raw | None:
    found = (raw.get("status") or {}).get("conditions") or ()
    return next((one for one in found if one.get("type") == AVAILABLE), None)


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a group version can be had, in upstream's words."""

    reason: str
    message: str
    available: bool = False


LOCAL = Verdict("Local", "Local APIServices are always available", available=True)
PASSED = Verdict("Passed", "all checks passed", available=True)


def judged(raw: Raw, verdict: Verdict, now: str) -> Raw | None:
    """The APIService with a verdict in its status; None when it is there already."""
    before = condition(raw)
    state = "True" if verdict.available else "False"
    wanted = {"type": AVAILABLE, "status": state, "reason": verdict.reason, "message": verdict.message}
    if before is not None and all(before.get(key) == value for key, value in wanted.items()):
        return None
    same = before is not None and before.get("status") == state
    since = before.get("lastTransitionTime") if before is not None and same else now
    new = {"type": AVAILABLE, "status": state, "lastTransitionTime": since, **wanted}
    others = [
        one for one in (raw.get("status") or {}).get("conditions") or () if one.get("type") != AVAILABLE
    ]
    return {**raw, "status": {**(raw.get("status") or {}), "conditions": [*others, new]}}


def speaks_for(user: User) -> list[tuple[str, str]]:
    """The fields by which this server, as a front proxy, says for whom it speaks."""
    found = [("X-Remote-User", user.name)]
    if user.uid:
        found.append(("X-Remote-Uid", user.uid))
    found += [("X-Remote-Group", group) for group in user.groups]
    found += [
        (f"X-Remote-Extra-{escaped(key)}", value) for key, values in user.extra.items() for value in values
    ]
    return found


def escaped(key: str) -> str:
    """A key as part of a field's name: what cannot stand there is percent-encoded."""
    return "".join(chr(byte) if byte in _FIELD_BYTES else f"%{byte:02X}" for byte in key.encode())


def endpoints(service: Raw, remote: Remote, slices: Sequence[Raw]) -> Verdict | None:
    """What is missing before anybody can be asked; None when nothing is. Only cluster addresses have endpoints for sure."""
    spec = service.get("spec") or {}
    if (spec.get("type") or "ClusterIP") != "ClusterIP":
        return None
    where = f'service/{remote.service} in "{remote.namespace}"'
    named = [port.get("name") or "" for port in spec.get("ports") or () if port.get("port") == remote.port]
    if not named:
        return Verdict("ServicePortError", f"{where} is not listening on port {remote.port}")
    if not slices:
        return Verdict("EndpointsNotFound", f"cannot find endpointslices for {where}")
    if not any(_serves(one, named[0]) for one in slices):
        text = f'endpointslices for {where} have no addresses with port name "{named[0]}"'
        return Verdict("MissingEndpoints", text)
    return None


def _serves(found: Raw, port: str) -> bool:
    ready = ((one.get("conditions") or {}).get("ready", True) for one in found.get("endpoints") or ())
    named = any((one.get("name") or "") == port and one.get("port") for one in found.get("ports") or ())
    return named and any(each is not False for each in ready)
