"""Events of audit.k8s.io/v1 as they are written: fields in upstream's order, what is empty left out. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from ipaddress import ip_address
from typing import Any

import msgspec

from kybern.auth.attributes import Attributes
from kybern.auth.user import User
from kybern.machinery.kind import Raw

LONGEST_AGENT = 1024
CUT = "...TRUNCATED"
_CLIENTS = "X-Forwarded-For"
_CLIENT = "X-Real-Ip"


class Who(msgspec.Struct, omit_defaults=True):
    username: str = ""
    uid: str = ""
    groups: Sequence[str] = ()
    extra: Mapping[str, Sequence[str]] = {}


class Reference(msgspec.Struct, omit_defaults=True, rename="camel"):
    """The object that a request is about, as far as it is known."""

    resource: str = ""
    namespace: str = ""
    name: str = ""
    uid: str = ""
    api_group: str = ""
    api_version: str = ""
    resource_version: str = ""
    subresource: str = ""


class Event(msgspec.Struct, omit_defaults=True, rename="camel"):
    """One stage of one request."""

    kind: str | None = None
    api_version: str | None = None
    level: str | None = None
    audit_id: str | None = msgspec.field(default=None, name="auditID")
    stage: str | None = None
    request_uri: str | None = msgspec.field(default=None, name="requestURI")
    verb: str | None = None
    user: Who | None = None
    impersonated_user: Who | None = None
    source_ips: Sequence[str] = msgspec.field(default=(), name="sourceIPs")
    user_agent: str = ""
    object_ref: Reference | None = None
    response_status: Raw | None = None
    request_object: Any = None
    response_object: Any = None
    request_received_timestamp: str = ""
    stage_timestamp: str = ""
    annotations: Mapping[str, str] = {}


def who(user: User) -> Who:
    return Who(user.name, user.uid, user.groups, user.extra)


def reference(asked: Attributes) -> Reference | None:
    if not asked.is_resource:
        return None
    return Reference(
        asked.resource,
        asked.namespace,
        asked.name,
        api_group=asked.group,
        api_version=asked.version,
        subresource=asked.subresource,
    )


def status(raw: Raw) -> Raw:
    """The parts of a Status that are told. ``metadata`` is always there, as upstream writes it."""
    kept = {key: raw[key] for key in ("status", "message", "reason", "details", "code") if raw.get(key)}
    return {"metadata": {}, **kept}


def agent(text: str) -> str:
    return text if len(text) <= LONGEST_AGENT else text[:LONGEST_AGENT] + CUT


def sources(headers: Mapping[str, str], remote: str) -> list[str]:
    """Where a request comes from: what proxies say, the client first, then who is connected."""
    found = [one for text in headers.get(_CLIENTS, "").split(",") if (one := _address(text))]
    if (real := _address(headers.get(_CLIENT, ""))) and real not in found:
        found.append(real)
    if (peer := _address(remote)) and found[-1:] != [peer]:
        found.append(peer)
    return found


def _address(text: str) -> str:
    try:
        return str(ip_address(text.strip()))
    except ValueError:
        return ""


def moment(seconds: float) -> str:
    """A time as MicroTime has it."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def unmanaged(given: Any) -> Any:
    """An object, list or table without who manages which fields."""
    if not isinstance(given, dict):
        return given
    found = {**given}
    if isinstance(meta := given.get("metadata"), dict):
        found["metadata"] = {key: value for key, value in meta.items() if key != "managedFields"}
    if isinstance(items := given.get("items"), list):
        found["items"] = _each(items)
    if isinstance(rows := given.get("rows"), list):
        found["rows"] = [{**row, "object": unmanaged(row.get("object"))} for row in rows]
    return found


def _each(items: Iterable[Any]) -> list[Any]:
    return [unmanaged(one) for one in items]
