"""Secret: data that is not for every eye."""

import base64
from collections.abc import Iterator

from kybern.api.rules import content
from kybern.api.rules.causes import all_invalid, invalid, required, unchanged
from kybern.api.rules.formats import data_key
from kybern.api.rules.tables import dig, simple, text
from kybern.machinery.errors import Cause
from kybern.machinery.kind import Column, Kind, Raw, Rules

_SELECTABLE = {"type": lambda raw: text(raw.get("type"))}


def _default(raw: Raw) -> None:
    if not raw.get("type"):
        raw["type"] = "Opaque"
    plain = raw.pop("stringData", None)
    if plain:
        encoded = {key: base64.b64encode(value.encode()).decode() for key, value in plain.items()}
        raw["data"] = {**(raw.get("data") or {}), **encoded}


_NEEDED = {
    "kubernetes.io/dockercfg": (".dockercfg",),
    "kubernetes.io/dockerconfigjson": (".dockerconfigjson",),
    "kubernetes.io/ssh-auth": ("ssh-privatekey",),
    "kubernetes.io/tls": ("tls.crt", "tls.key"),
}
_ACCOUNT = "kubernetes.io/service-account.name"


def _validate(new: Raw, old: Raw | None) -> Iterator[Cause]:
    data: dict[str, str] = new.get("data") or {}
    for key in data:
        yield from all_invalid(f"data[{key}]", key, data_key(key))
    yield from content.not_too_large("data", (), data.values())
    yield from _of_type(new.get("type", ""), new, data)
    if old is not None:
        yield from unchanged("type", new.get("type", ""), old.get("type", ""))
        yield from content.frozen(new, old, "data")


def _of_type(kind: str, raw: Raw, data: dict[str, str]) -> Iterator[Cause]:
    for key in _NEEDED.get(kind, ()):
        if key not in data:
            yield required(f"data[{key}]")
    if kind in ("kubernetes.io/dockercfg", "kubernetes.io/dockerconfigjson"):
        (key,) = _NEEDED[kind]
        if key in data and not content.is_json(data[key]):
            yield invalid(f"data[{key}]", "<secret contents redacted>", "invalid character")
    if kind == "kubernetes.io/basic-auth" and not {"username", "password"} & data.keys():
        yield required("data[username]")
        yield required("data[password]")
    if kind == "kubernetes.io/service-account-token" and not dig(raw, "metadata", "annotations", _ACCOUNT):
        yield required(f"metadata.annotations[{_ACCOUNT}]")


def _warnings(new: Raw, _old: Raw | None) -> Iterator[str]:
    """A pair that a TLS server could not load."""
    certificate = (new.get("data") or {}).get("tls.crt")
    if new.get("type") != "kubernetes.io/tls" or certificate is None:
        return
    if b"-----BEGIN" not in base64.b64decode(certificate):
        yield "tls: failed to find any PEM data in certificate input"


KIND = Kind(
    group="",
    version="v1",
    kind="Secret",
    plural="secrets",
    namespaced=True,
    schema="io.k8s.api.core.v1.Secret",
    singular="secret",
    storage="secrets",
    selectable=_SELECTABLE,
    table=simple(
        (Column("Type"), Column("Data")), lambda raw: [raw.get("type", ""), len(raw.get("data") or ())]
    ),
    rules=Rules(default=_default, validate=_validate, warnings=_warnings),
    storage_version_hash="S6u1pOWzb84=",
)
