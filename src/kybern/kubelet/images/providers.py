"""Credentials from programs that know a registry's (upstream's credential provider plugins, KEP-2133, KEP-4412).

A program is asked for an image on its standard input and answers on its standard output; it says for what its answer holds
(this image, its registry, everything) and for how long. A program that fails is as good as none: the pull itself will tell.
"""

import asyncio
import json
import logging
import os
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml

from kybern.api.core_v1 import Pod, ServiceAccount, ServiceAccountTokenProjection
from kybern.daemon.flags import duration
from kybern.daemon.run import Fatal
from kybern.kubelet.images.names import matches, registry_of
from kybern.kubelet.images.registries import Login, Source
from kybern.kubelet.volumes.plugin import CannotMount

log = logging.getLogger(__name__)

_PATIENCE = 60.0
_API = "credentialprovider.kubelet.k8s.io/v1"
_VERSIONS = ("kubelet.config.k8s.io/v1", "kubelet.config.k8s.io/v1beta1")

type Token = Callable[[Pod, ServiceAccountTokenProjection], Awaitable[str]]
type Account = Callable[[str, str], Awaitable[ServiceAccount | None]]


@dataclass(frozen=True, slots=True)
class TokenRules:
    """Whether the program gets a token of the pod's service account, and which of its annotations."""

    audience: str
    required: bool = False
    needs: tuple[str, ...] = ()
    takes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Provider:
    """One program, and for which images it is asked. ``kept`` is how long an answer holds that does not say, in seconds."""

    name: str
    program: Path
    images: tuple[str, ...]
    kept: float
    arguments: tuple[str, ...] = ()
    variables: Mapping[str, str] = field(default_factory=dict)
    token: TokenRules | None = None


def read(path: str, directory: str) -> tuple[Provider, ...]:
    """Of a CredentialProviderConfig file and the directory of programs. Raises Fatal."""
    if not path:
        return ()
    try:
        raw = yaml.safe_load(Path(path).read_text())
        if raw.get("apiVersion") not in _VERSIONS or raw.get("kind") != "CredentialProviderConfig":
            raise Fatal(f"cannot use {path}: it is no CredentialProviderConfig of {_VERSIONS[0]}")
        found = tuple(_provider(one, Path(directory)) for one in raw.get("providers") or ())
    except OSError as problem:
        raise Fatal(f"cannot read {path}: {problem.strerror}") from problem
    except (yaml.YAMLError, AttributeError, KeyError, TypeError, ValueError) as problem:
        raise Fatal(f"cannot use {path}: {problem!r}") from problem
    for one in found:
        if not os.access(one.program, os.X_OK):
            raise Fatal(f"plugin binary executable {one.program} did not exist")
    return found


def _provider(raw: Mapping[str, Any], directory: Path) -> Provider:
    name = raw["name"]
    if "/" in name or name in ("", ".", ".."):
        raise ValueError(f"plugin name cannot be {name!r}")
    if raw["apiVersion"] != _API:
        raise ValueError(f"provider {name} speaks {raw['apiVersion']}, not {_API}")
    if not raw.get("matchImages"):
        raise ValueError(f"provider {name} has no matchImages")
    rules = raw.get("tokenAttributes")
    return Provider(
        name, directory / name, tuple(raw["matchImages"]), duration(str(raw["defaultCacheDuration"])),
        tuple(raw.get("args") or ()), {one["name"]: one["value"] for one in raw.get("env") or ()},
        TokenRules(
            rules["serviceAccountTokenAudience"], rules["requireServiceAccount"],
            tuple(rules.get("requiredServiceAccountAnnotationKeys") or ()),
            tuple(rules.get("optionalServiceAccountAnnotationKeys") or ()),
        ) if rules else None,
    )  # fmt: skip


class _Skip(Exception):
    """The program is not asked for this pod."""


class Providers:
    """All programs, and what they answered."""

    def __init__(self, providers: tuple[Provider, ...], token: Token, account: Account) -> None:
        self._providers = providers
        self._token = token
        self._account = account
        self._kept: dict[tuple[str, str, str], tuple[tuple[Login, ...], float]] = {}
        self._turns: dict[tuple[str, str], asyncio.Lock] = {}

    async def logins(self, pod: Pod, image: str) -> tuple[Login, ...]:
        """What fits an image, of all programs, the longest match first."""
        wanted = registry_of(image)
        found: list[Login] = []
        for one in self._providers:
            if any(matches(pattern, wanted) for pattern in one.images):
                found += [
                    login
                    for login in await self._of(one, pod, image, wanted)
                    if matches(login.server, wanted)
                ]
        return tuple(sorted(found, key=lambda login: len(login.server), reverse=True))

    async def _of(self, one: Provider, pod: Pod, image: str, wanted: str) -> tuple[Login, ...]:
        async with self._turns.setdefault((one.name, image), asyncio.Lock()):
            try:
                asked, whose = await self._request(one, pod, image)
            except (_Skip, CannotMount) as problem:
                log.info("credential provider %s is not asked for %s: %s", one.name, image, problem)
                return ()
            known = self._known(one, whose, image, wanted)
            try:
                if known is None:
                    known = self._answered(one, whose, image, wanted, await _ask(one, asked))
            except (OSError, ValueError, KeyError, TypeError, AttributeError, TimeoutError) as problem:
                log.warning("cannot get credentials for %s from %s: %r", image, one.name, problem)
                return ()
            source = await self._source(pod) if whose else None
            return tuple(replace(login, source=source) for login in known)

    async def _source(self, pod: Pod) -> Source | None:
        """The service account for which a program was asked."""
        name = pod.spec.service_account_name
        account = await self._account(pod.metadata.namespace, name)
        if account is None:
            return None
        return Source("ServiceAccount", pod.metadata.namespace, name, account.metadata.uid)

    async def _request(self, one: Provider, pod: Pod, image: str) -> tuple[dict[str, Any], str]:
        """What the program is asked, and on whose behalf as far as its answer may depend on it."""
        asked: dict[str, Any] = {"apiVersion": _API, "kind": "CredentialProviderRequest", "image": image}
        rules, name = one.token, pod.spec.service_account_name
        if rules is None:
            return asked, ""
        if not name:
            if rules.required:
                raise _Skip("the pod has no service account")
            return asked, ""
        account = await self._account(pod.metadata.namespace, name)
        if account is None:
            raise _Skip(f"there is no service account {name}")
        notes = account.metadata.annotations
        missing = [key for key in rules.needs if key not in notes]
        if missing:
            raise _Skip(f"required annotation {missing[0]} not found")
        asked["serviceAccountToken"] = await self._token(
            pod, ServiceAccountTokenProjection(audience=rules.audience)
        )
        asked["serviceAccountAnnotations"] = {k: notes[k] for k in (*rules.needs, *rules.takes) if k in notes}
        return (
            asked,
            f"{account.metadata.uid} {json.dumps(asked['serviceAccountAnnotations'], sort_keys=True)}",
        )

    def _known(self, one: Provider, whose: str, image: str, wanted: str) -> tuple[Login, ...] | None:
        now = time.monotonic()
        self._kept = {key: kept for key, kept in self._kept.items() if kept[1] > now}
        keys = ((one.name, whose, place) for place in (image, wanted.partition("/")[0], ""))
        return next((self._kept[key][0] for key in keys if key in self._kept), None)

    def _answered(
        self, one: Provider, whose: str, image: str, wanted: str, answer: Mapping[str, Any]
    ) -> tuple[Login, ...]:
        if answer.get("kind") != "CredentialProviderResponse":
            raise ValueError(f"the answer is a {answer.get('kind')}")
        places = {"Image": image, "Registry": wanted.partition("/")[0], "Global": ""}
        place = places[answer["cacheKeyType"]]
        auth = answer.get("auth") or {}
        found = tuple(
            Login(server, entry.get("username") or "", entry.get("password") or "")
            for server, entry in auth.items()
        )
        told = answer.get("cacheDuration")
        kept = one.kept if told is None else duration(str(told))
        if kept > 0:
            self._kept[one.name, whose, place] = (found, time.monotonic() + kept)
        return found


async def _ask(one: Provider, asked: Mapping[str, Any]) -> Mapping[str, Any]:
    """Run the program once. Raises OSError, ValueError, TimeoutError."""
    process = await asyncio.create_subprocess_exec(
        one.program, *one.arguments, env={**os.environ, **one.variables},
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        async with asyncio.timeout(_PATIENCE):
            output, errors = await process.communicate(json.dumps(asked).encode())
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode:
        raise ValueError(f"it ended with {process.returncode}: {errors.decode(errors='replace').strip()}")
    found: Mapping[str, Any] = json.loads(output)
    return found
