"""Which pods may use an image that is on the machine already (upstream's KubeletEnsureSecretPulledImages). Pure.

An image that the kubelet pulled with somebody's credentials is only for those who have them: by the secret's coordinates, by
the same credentials in another secret, or by the service account for which a program gave them. What was pulled with none,
or with the node's own, is for everybody. Anybody else must pull, and so be refused by the registry.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from kybern.kubelet.images.names import normal, repository
from kybern.kubelet.images.registries import Login, Source

NEVER, PRELOADED = "NeverVerify", "NeverVerifyPreloadedImages"
ALLOWLISTED, ALWAYS = "NeverVerifyAllowlistedImages", "AlwaysVerify"
POLICIES = (NEVER, PRELOADED, ALLOWLISTED, ALWAYS)
# A record does not grow without end, however many namespaces come and go.
_MOST = 100


@dataclass(frozen=True, slots=True)
class Policy:
    """imagePullCredentialsVerificationPolicy, and images that are exempt: names, or all below one (NAME/*)."""

    name: str = PRELOADED
    allowlist: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Credentials:
    """With what an image was pulled: secrets with a hash of what they hold, service accounts, or nothing of its own."""

    secrets: tuple[tuple[Source, str], ...] = ()
    accounts: tuple[Source, ...] = ()
    everybody: bool = False


@dataclass(frozen=True, slots=True)
class Record:
    """One image, by the runtime's id; ``by_name``: repositories, and the credentials for each."""

    image: str
    by_name: Mapping[str, Credentials] = field(default_factory=dict)
    updated: str = ""


def check(policy: Policy) -> None:
    """Raises ValueError, with upstream's words."""
    if policy.name not in POLICIES:
        option = "imagePullCredentialsVerificationPolicy"
        raise ValueError(f'option "{policy.name}" specified for {option} is none of {", ".join(POLICIES)}')
    if policy.allowlist and policy.name != ALLOWLISTED:
        raise ValueError(
            "can't set `preloadedImagesVerificationAllowlist` if `imagePullCredentialsVerificationPolicy` is not "
            f'"{ALLOWLISTED}"'
        )
    for pattern in policy.allowlist:
        plain = pattern.removesuffix("/*")
        if "*" in plain or repository(plain) != plain:
            raise ValueError(
                f'preloadedImagesVerificationAllowlist: "{pattern}" is no image without tag and digest'
            )


def needs_proof(policy: Policy, image: str, *, pulled: bool) -> bool:
    """Whether a pod must show that it may use an image. ``pulled``: by the kubelet, not put there by others."""
    if policy.name in (NEVER, ALWAYS):
        return policy.name == ALWAYS
    if pulled or policy.name == PRELOADED:
        return pulled
    name = normal(repository(image))
    return not any(_covers(pattern, name) for pattern in policy.allowlist)


def _covers(pattern: str, name: str) -> bool:
    if pattern.endswith("/*"):
        return name.startswith(normal(pattern.removesuffix("*") + "x").removesuffix("x"))
    return normal(pattern) == name


def used(login: Login | None) -> Credentials:
    """What is noted after a pull with a login, or with none."""
    if login is None or login.source is None:
        return Credentials(everybody=True)
    if login.source.kind == "ServiceAccount":
        return Credentials(accounts=(login.source,))
    return Credentials(secrets=((login.source, hashed(login)),))


def proven(known: Credentials | None, logins: Iterable[Login]) -> Credentials | None:
    """What of the logins proves that they may use the image, to be noted, too; None when nothing does."""
    if known is None:
        return None
    if known.everybody:
        return known
    for login in logins:
        source, digest = login.source, hashed(login)
        if source is None:
            continue
        if source in known.accounts:
            return known
        if any(source == other or (digest and digest == noted) for other, noted in known.secrets):
            more = Credentials(secrets=((source, digest),))
            return joined(known, more) if len(known.secrets) < _MOST else known
    return None


def joined(old: Credentials, new: Credentials) -> Credentials:
    """Both; what is for everybody stays so, and a secret has the hash that it had last."""
    if old.everybody or new.everybody:
        return Credentials(everybody=True)
    secrets = {**dict(old.secrets), **dict(new.secrets)}
    accounts = {*old.accounts, *new.accounts}
    return Credentials(tuple(sorted(secrets.items())), tuple(sorted(accounts)))


def noted(record: Record | None, image: str, name: str, new: Credentials | None, now: str) -> Record:
    """The record of an image after a pull under a name. ``new`` None: how it was pulled is not known."""
    found = record or Record(image, updated=now)
    if new is None:
        return found
    old = found.by_name.get(key(name))
    both = new if old is None else joined(old, new)
    return found if both == old else replace(found, by_name={**found.by_name, key(name): both}, updated=now)


def key(name: str) -> str:
    """By which an image's name is noted: its repository, in full, without tag and digest."""
    return normal(repository(name))


def hashed(login: Login) -> str:
    """Of the credentials alone, as upstream's record has it."""
    parts = {"username": login.username, "password": login.password, "identitytoken": login.identity_token}
    text = json.dumps({key: value for key, value in parts.items() if value}, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


# -- files -----------------------------------------------------------------------------------------------------------------


def shown(record: Record) -> dict[str, Any]:
    """As ImagePulledRecord of kubelet.config.k8s.io/v1beta1."""
    return {
        "kind": "ImagePulledRecord",
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "lastUpdatedTime": record.updated,
        "imageRef": record.image,
        "credentialMapping": {name: _shown(one) for name, one in record.by_name.items()},
    }


def _shown(one: Credentials) -> dict[str, Any]:
    if one.everybody:
        return {"nodePodsAccessible": True}
    found: dict[str, Any] = {}
    if one.secrets:
        found["kubernetesSecrets"] = [
            {**_source(source), "credentialHash": digest} for source, digest in one.secrets
        ]
    if one.accounts:
        found["kubernetesServiceAccounts"] = [_source(source) for source in one.accounts]
    return found


def _source(source: Source) -> dict[str, str]:
    return {"uid": source.uid, "namespace": source.namespace, "name": source.name}


def record_of(raw: Mapping[str, Any]) -> Record:
    """Of a file's content; raises KeyError, TypeError, AttributeError for what is none."""
    if raw["kind"] != "ImagePulledRecord":
        raise KeyError("kind")
    names = raw.get("credentialMapping") or {}
    return Record(raw["imageRef"], {name: _read(one) for name, one in names.items()}, raw["lastUpdatedTime"])


def _read(raw: Mapping[str, Any]) -> Credentials:
    def source(kind: str, one: Mapping[str, str]) -> Source:
        return Source(kind, one["namespace"], one["name"], one["uid"])

    return Credentials(
        tuple((source("Secret", one), one["credentialHash"]) for one in raw.get("kubernetesSecrets") or ()),
        tuple(source("ServiceAccount", one) for one in raw.get("kubernetesServiceAccounts") or ()),
        bool(raw.get("nodePodsAccessible")),
    )
