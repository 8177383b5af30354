"""Static pods from a URL (staticPodURL): one v1 Pod, or a PodList, as YAML or JSON.

What holds: a URL that cannot be read, or says what is no pod, keeps the pods that it told last; an empty answer is no pods.
The answer's content makes the pods' uids, so that another content is another pod. Fields of the request (staticPodURLHeader)
may be secret: they are in no log, and not in /configz.
"""

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp

from kybern.api.core_v1 import Pod
from kybern.client.connections import Connections
from kybern.kubelet.settings import Settings
from kybern.kubelet.static import BadManifest, Manifests, Origin, Told, loaded, made

log = logging.getLogger(__name__)

_PATIENCE = 10.0
# Upstream's maxConfigLength.
_MOST = 10 << 20
# So many failures in a row are told; the others are details.
_TOLD = 3


class CannotRead(Exception):
    """The URL does not say which pods there are."""


def header(text: str) -> Mapping[str, tuple[str, ...]]:
    """``NAME:VALUE,...``, where a name may come several times; raises ValueError."""
    found: dict[str, list[str]] = {}
    for part in filter(None, text.split(",")):
        name, sign, value = part.partition(":")
        if not sign:
            raise ValueError(
                f"malformed pair, expect string:string (got {len(part)} characters without a colon)"
            )
        found.setdefault(name.strip(), []).append(value.strip())
    return {name: tuple(values) for name, values in found.items()}


def pods_of(text: str, url: str, node: str) -> Mapping[str, Pod]:
    """By uid; raises BadManifest. Pure."""
    raw = loaded(text)
    if isinstance(raw, dict) and raw.get("kind") == "PodList" and raw.get("apiVersion") == "v1":
        found = list(_listed(raw.get("items"), url, node))
    else:
        found = [made(raw, text, Origin("http", url), node)]
    return {pod.metadata.uid: pod for pod in found}


def _listed(items: object, url: str, node: str) -> Iterator[Pod]:
    if not isinstance(items, list):
        raise BadManifest("items: Required value")
    for item in items:
        # Items of a list need not say what they are.
        raw = {"kind": "Pod", "apiVersion": "v1", **item} if isinstance(item, dict) else item
        yield made(raw, json.dumps(item, sort_keys=True, default=str), Origin("http", url), node)


def sources(settings: Settings, node: str) -> Iterator[Told]:
    """Where static pods come from."""
    if settings.static_pod_path:
        yield Manifests(Path(settings.static_pod_path), node)
    if settings.static_pod_url:
        yield Url(settings.static_pod_url, node, settings.static_pod_header, settings.url_every)


@dataclass(slots=True)
class Url:
    """``every``: httpCheckFrequency, in seconds."""

    url: str
    node: str
    fields: Mapping[str, Sequence[str]] = field(default_factory=dict)
    every: float = 20.0
    _last: bytes | None = None
    _failures: int = 0

    async def look(self) -> Mapping[str, Pod] | None:
        """All pods by uid, when the answer is another one than the last; None otherwise."""
        try:
            content = await self._read()
            if content == self._last:
                return None
            found = pods_of(content.decode(), self.url, self.node) if content else {}
        except (CannotRead, BadManifest, UnicodeDecodeError) as problem:
            self._failures += 1
            level = logging.WARNING if self._failures <= _TOLD else logging.DEBUG
            log.log(level, "cannot read static pods from %s: %s", self.url, problem)
            return None
        if self._failures:
            log.info("static pods are read from %s again", self.url)
        self._failures, self._last = 0, content
        return found

    async def _read(self) -> bytes:
        fields = [(name, value) for name, values in self.fields.items() for value in values]
        timeout = aiohttp.ClientTimeout(total=_PATIENCE)
        try:
            async with (
                aiohttp.ClientSession(connector=Connections(), timeout=timeout) as session,
                session.get(self.url, headers=fields) as answer,
            ):
                if answer.status != 200:
                    raise CannotRead(f"the answer is {answer.status} {answer.reason}")
                content = bytearray()
                async for part in answer.content.iter_any():
                    content += part
                    if len(content) > _MOST:
                        raise CannotRead(f"the answer is longer than {_MOST} bytes")
                return bytes(content)
        except (aiohttp.ClientError, ValueError, TimeoutError) as problem:
            raise CannotRead(str(problem) or type(problem).__name__) from problem
