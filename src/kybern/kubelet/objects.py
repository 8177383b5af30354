"""Config maps, secrets and tokens that pods need, asked of the API server and kept for a short while.

What holds: an object is at most ``FRESH`` seconds old when a container starts or a volume is written, and is asked for once
however many pods need it. Tokens are asked for again when a fifth of their life is left, or after a day. When the API
server does not answer, what was last known goes on being used. A clock that is set does not make a token older or
younger than it is: its age counts beside what the clock says.
"""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from kybern.api.authentication_v1 import TokenRequest
from kybern.api.core_v1 import (
    ClusterTrustBundleProjection,
    ConfigMap,
    PersistentVolume,
    PersistentVolumeClaim,
    Pod,
    Secret,
    ServiceAccount,
    ServiceAccountTokenProjection,
)
from kybern.api.node_v1 import RuntimeClass
from kybern.api.storage_v1 import CSIDriver, VolumeAttachment
from kybern.client import paths
from kybern.client.verbs import Verbs
from kybern.kubelet.trust_bundles import TrustBundles
from kybern.kubelet.volumes.plugin import CannotMount
from kybern.machinery.errors import ApiError, NotFound
from kybern.machinery.struct import Object, decoder

log = logging.getLogger(__name__)

FRESH = 20.0
_DAY = 24 * 3600.0
_HOUR = 3600


class NoHandler(Exception):
    """It is not known how a pod of that RuntimeClass runs."""


@dataclass(slots=True)
class _Kept:
    value: Any
    until: float


@dataclass(frozen=True, slots=True)
class Token:
    """``expires`` by the server's clock; ``lifetime`` in seconds; ``at`` and ``steady``: our clocks when it came. Pure."""

    text: str
    expires: float
    lifetime: float
    at: float
    steady: float

    def due(self, now: float, steady: float) -> bool:
        """Whether another is to be asked for: a fifth of its life is left, or it is a day old."""
        age = max(now - self.at, steady - self.steady)
        return age >= min(_DAY, 0.8 * self.lifetime) or now >= self.expires - 0.2 * self.lifetime

    def lasts(self, now: float, steady: float) -> bool:
        return now < self.expires and steady - self.steady < self.lifetime


class ApiObjects:
    """The ``volumes.plugin.Objects`` of a real API server. ``None`` as client: a node without one (static pods only)."""

    def __init__(
        self,
        client: Verbs | None,
        steady: Callable[[], float] = time.monotonic,
        clock: Callable[[], float] = time.time,
        bundles: TrustBundles | None = None,
    ) -> None:
        self._client = client
        self._steady = steady
        self._clock = clock
        self._bundles = bundles
        self._known: dict[tuple[type[Object], str, str], _Kept] = {}
        self._tokens: dict[tuple[Any, ...], Token] = {}

    async def config_map(self, namespace: str, name: str) -> ConfigMap | None:
        return await self._get(ConfigMap, namespace, name)

    async def secret(self, namespace: str, name: str) -> Secret | None:
        return await self._get(Secret, namespace, name)

    async def handler(self, name: str) -> str:
        """By which handler of the runtime a pod of that RuntimeClass runs; empty for none. Raises NoHandler."""
        if not name:
            return ""
        try:
            found = await self._get(RuntimeClass, "", name)
        except CannotMount as problem:
            raise NoHandler(f"failed to lookup RuntimeClass {name}: {problem}") from problem
        if found is None:
            raise NoHandler(f'runtimeclass.node.k8s.io "{name}" not found')
        return found.handler

    async def service_account(self, namespace: str, name: str) -> ServiceAccount | None:
        return await self._get(ServiceAccount, namespace, name)

    async def claim(self, namespace: str, name: str) -> PersistentVolumeClaim | None:
        """Asked for anew each time: it is about to be bound."""
        return await self._get(PersistentVolumeClaim, namespace, name, fresh=True)

    async def claim_status(
        self, old: PersistentVolumeClaim, new: PersistentVolumeClaim
    ) -> PersistentVolumeClaim:
        if self._client is None:
            raise CannotMount("a claim cannot be written without an API server")
        try:
            return await self._client.patch(old, new, "status")
        except ApiError as problem:
            raise CannotMount(
                f"mountVolume.NodeExpandVolume update pvc status failed: {problem}"
            ) from problem

    async def persistent(self, name: str) -> PersistentVolume | None:
        return await self._get(PersistentVolume, "", name, fresh=True)

    async def csi_driver(self, name: str) -> CSIDriver | None:
        return await self._get(CSIDriver, "", name)

    async def attachment(self, name: str) -> VolumeAttachment | None:
        return await self._get(VolumeAttachment, "", name, fresh=True)

    async def trust_anchors(self, wanted: ClusterTrustBundleProjection) -> str:
        if self._client is None:
            raise CannotMount("ClusterTrustBundle projection is not supported in static kubelet mode")
        if self._bundles is None:
            why = "the kubelet's feature gate ClusterTrustBundleProjection is off"
            raise CannotMount(f"ClusterTrustBundle projection is not supported: {why}")
        return await self._bundles.anchors(wanted)

    async def _get[T: Object](
        self, kind: type[T], namespace: str, name: str, *, fresh: bool = False
    ) -> T | None:
        key, now = (kind, namespace, name), time.monotonic()
        kept = self._known.get(key)
        if kept is not None and now < kept.until and not fresh:
            found: T | None = kept.value
            return found
        if self._client is None:
            raise CannotMount(f'{kind.kind.lower()} "{name}" cannot be had without an API server')
        try:
            value: T | None = await self._client.get(kind, name, namespace)
        except NotFound:
            value = None
        except ApiError as problem:
            if kept is None or kept.value is None:
                raise CannotMount(f'failed to get {kind.kind.lower()} "{name}": {problem}') from problem
            log.info("keep the last known %s %s/%s: %s", kind.kind, namespace, name, problem)
            value = kept.value
        # What is missing is looked for again at the next try: someone waits for it.
        self._known[key] = _Kept(value, now + (FRESH if value is not None else 0.0))
        if len(self._known) > 500:
            self._known = {k: v for k, v in self._known.items() if now < v.until}
        return value

    async def token(self, pod: Pod, wanted: ServiceAccountTokenProjection) -> str:
        seconds = wanted.expiration_seconds or _HOUR
        account = pod.spec.service_account_name or "default"
        key = (pod.metadata.uid, account, wanted.audience, seconds)
        now, steady = self._clock(), self._steady()
        known = self._tokens.get(key)
        if known is not None and not known.due(now, steady):
            return known.text
        try:
            token, expires, lifetime = await self._ask(pod, account, wanted.audience, seconds)
        except ApiError as problem:
            if known is not None and known.lasts(now, steady):
                log.info(
                    "keep the token of pod %s/%s: %s", pod.metadata.namespace, pod.metadata.name, problem
                )
                return known.text
            raise CannotMount(f"failed to fetch token: {problem}") from problem
        self._tokens[key] = Token(token, expires, lifetime, now, steady)
        return token

    async def _ask(self, pod: Pod, account: str, audience: str, seconds: int) -> tuple[str, float, float]:
        """The token, when it expires by the server's clock, and how many seconds it is good for from now on."""
        if self._client is None:
            raise CannotMount("a token cannot be had without an API server")
        meta = pod.metadata
        body = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "spec": {
                "audiences": [audience] if audience else [],
                "expirationSeconds": seconds,
                "boundObjectRef": {"apiVersion": "v1", "kind": "Pod", "name": meta.name, "uid": meta.uid},
            },
        }
        path = paths.one(ServiceAccount, meta.namespace, account, "token")
        found = decoder(TokenRequest).decode(await self._client.request("POST", path, body))
        expires = found.status.expiration_timestamp or datetime.now(UTC)
        # The server may give it longer or shorter than it was asked for.
        lifetime = float(found.spec.expiration_seconds or seconds)
        return found.status.token, expires.timestamp(), lifetime

    def forget(self, uid: str) -> None:
        """A pod is gone, and so are its tokens."""
        self._tokens = {key: value for key, value in self._tokens.items() if key[0] != uid}
