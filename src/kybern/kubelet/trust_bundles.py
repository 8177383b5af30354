"""Trust anchors for pods, out of the cluster's ClusterTrustBundles (KEP-3257).

Bundles are watched from the moment on when the first pod asks for one, in the newest version that the API server has. What
holds: the same bundles give the same bytes for as long as the kubelet runs, whoever asks, and in an order that says
nothing, so that nobody relies on what comes first. All that is in them beside certificates is left out.
"""

import asyncio
import hashlib
import logging
import secrets
from collections.abc import Iterable
from typing import Any

from kybern.api.certificates_v1alpha1 import ClusterTrustBundle as AlphaBundle
from kybern.api.certificates_v1beta1 import ClusterTrustBundle
from kybern.api.core_v1 import ClusterTrustBundleProjection
from kybern.client.discovery import resources
from kybern.client.verbs import Verbs
from kybern.client.watch import Added, Change, Deleted, Modified, Synced, watch
from kybern.kubelet.volumes.plugin import CannotMount
from kybern.loop.owners import selector_of
from kybern.machinery import pem
from kybern.machinery.errors import ApiError, BadRequest, NotFound
from kybern.machinery.selectors import NOTHING, LabelSelector

log = logging.getLogger(__name__)

PATIENCE = 10.0
"""Seconds that a volume waits for the first list."""
_LONGEST_SELECTOR = 100 * 1024
_MOST_KEPT = 500

type Bundle = ClusterTrustBundle | AlphaBundle


def normal(texts: Iterable[str], salt: bytes) -> str:
    """The certificates of all, once each, in an order that the salt makes up. Pure."""
    found = {block.data for text in texts for block in pem.decode(text)}
    ordered = sorted(found, key=lambda data: hashlib.blake2b(data, key=salt).digest())
    return "".join(pem.encode(pem.Block("CERTIFICATE", data)) for data in ordered)


class TrustBundles:
    """``anchors`` is what volumes ask; ``run`` belongs into the daemon's TaskGroup."""

    def __init__(self, client: Verbs, patience: float = PATIENCE) -> None:
        self._client = client
        self._patience = patience
        self._salt = secrets.token_bytes(16)
        self._bundles: dict[str, Bundle] = {}
        self._made: dict[tuple[str, str, str], str] = {}
        self._kind: type[Bundle] | None = None
        self._wanted = asyncio.Event()
        self._synced = asyncio.Event()

    async def run(self) -> None:
        """Until cancelled; nothing at all before somebody asks."""
        await self._wanted.wait()
        assert self._kind is not None
        log.info("Watching ClusterTrustBundles of %s", self._kind.api_version)
        async for change in watch(self._client, self._kind):
            self.apply(change)

    def apply(self, change: Synced[Any] | Change[Any]) -> None:
        """Take in what the API server says."""
        self._made.clear()
        match change:
            case Synced(items):
                self._bundles = {item.metadata.name: item for item in items}
                self._synced.set()
            case Added(item) | Modified(item, _):
                self._bundles[item.metadata.name] = item
            case Deleted(item):
                self._bundles.pop(item.metadata.name, None)

    async def anchors(self, wanted: ClusterTrustBundleProjection) -> str:
        """What a projection's file says, empty where nothing is there and that is fine. Raises CannotMount."""
        await self._ready()
        selector = _selector(wanted)
        key = (wanted.name, wanted.signer_name, f"{selector.nothing} {selector}")
        if len(key[2]) > _LONGEST_SELECTOR:
            raise CannotMount(f"label selector length ({len(key[2])}) is larger than {_LONGEST_SELECTOR}")
        if key in self._made:
            return self._made[key]
        if wanted.name:
            named = self._bundles.get(wanted.name)
            found = [named] if named is not None else []
            absent = f'clustertrustbundle.certificates.k8s.io "{wanted.name}" not found'
        elif wanted.signer_name:
            of_signer = (one for one in self._bundles.values() if one.spec.signer_name == wanted.signer_name)
            found = [one for one in of_signer if selector.matches(one.metadata.labels)]
            absent = "combination of signerName and labelSelector matched zero ClusterTrustBundles"
        else:
            raise CannotMount("ClusterTrustBundle projection requires either name or signerName to be set")
        if not found and not wanted.optional:
            raise CannotMount(absent)
        if len(self._made) >= _MOST_KEPT:
            self._made.clear()
        made = self._made[key] = normal((one.spec.trust_bundle for one in found), self._salt)
        return made

    async def _ready(self) -> None:
        if not self._wanted.is_set():
            self._kind = await self._served()
            self._wanted.set()
        try:
            async with asyncio.timeout(self._patience):
                await self._synced.wait()
        except TimeoutError:
            raise CannotMount("ClusterTrustBundle informer has not yet synced") from None

    async def _served(self) -> type[Bundle]:
        kinds: tuple[type[Bundle], ...] = (ClusterTrustBundle, AlphaBundle)
        for kind in kinds:
            try:
                served = await resources(self._client, kind.api_version)
            except NotFound:
                continue
            except ApiError as problem:
                why = f"cannot find out whether ClusterTrustBundles are served: {problem}"
                raise CannotMount(why) from problem
            if any(one.plural == kind.plural for one in served):
                return kind
        raise CannotMount(
            "ClusterTrustBundle projection is not supported: the API server serves no version of ClusterTrustBundle; "
            "switch it on there (--runtime-config, and the feature gate ClusterTrustBundle)"
        )


def _selector(wanted: ClusterTrustBundleProjection) -> LabelSelector:
    """None selects nothing, an empty one everything."""
    if wanted.label_selector is None:
        return NOTHING
    try:
        return selector_of(wanted.label_selector)
    except BadRequest as problem:
        raise CannotMount(f"while parsing label selector: {problem}") from problem
