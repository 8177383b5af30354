"""Extenders: servers that are asked over HTTP which nodes will do, which are better, who leaves, and to bind.

The wire is upstream's (k8s.io/kube-scheduler/extender/v1): its fields bear Go's names, and are read whatever their case. An
extender that is ``ignorable`` is passed over when it fails; another one's failure fails the attempt.
"""

import contextlib
import logging
import ssl
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import aiohttp
import msgspec

from kybern.api.core_v1 import Node, Pod
from kybern.machinery.struct import encode
from kybern.scheduler.preemption import Victims

LOG = logging.getLogger(__name__)

TIMEOUT = 5.0  # seconds, when the file names none
# Of an extender's scores up to 10, in scores of plugins up to 100.
_SCALE = 10
_OK = 200


class ExtenderFailed(Exception):
    """No answer, or one that cannot be used."""


@dataclass(frozen=True, slots=True)
class Settings:
    """One entry of ``extenders``. ``timeout`` is in seconds; ``tls`` None is for plain HTTP.

    ``server_name`` is the one that its certificate must bear, "" for that of the URL.

    ``resources`` are those that it manages: it is asked about pods only that ask for one of them, about all when it names
    none; for ``ignored`` ones nodes are not looked at by NodeResourcesFit. ``knows_nodes``: names are enough for it.
    """

    url: str
    filter_verb: str = ""
    prioritize_verb: str = ""
    preempt_verb: str = ""
    bind_verb: str = ""
    weight: int = 0
    timeout: float = TIMEOUT
    tls: ssl.SSLContext | None = None
    server_name: str = ""
    knows_nodes: bool = False
    ignorable: bool = False
    resources: frozenset[str] = frozenset()
    ignored: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Filtered:
    """The nodes that are left, and the reasons against others; ``hopeless`` are those where nobody's leaving helps."""

    left: frozenset[str]
    against: Mapping[str, str]
    hopeless: Mapping[str, str]


class Extender:
    """To be entered before it is asked."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        limit = aiohttp.ClientTimeout(total=self.settings.timeout)
        connector = aiohttp.TCPConnector(ssl=self.settings.tls or True)
        self._session = aiohttp.ClientSession(timeout=limit, connector=connector)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()

    @property
    def preempts(self) -> bool:
        return bool(self.settings.preempt_verb)

    @property
    def binds(self) -> bool:
        return bool(self.settings.bind_verb)

    def is_interested(self, pod: Pod) -> bool:
        managed = self.settings.resources
        if not managed:
            return True
        containers = (*pod.spec.containers, *pod.spec.init_containers)
        given = (one.resources for one in containers if one.resources)
        return any(managed & {*one.requests, *one.limits} for one in given)

    async def filter(self, pod: Pod, nodes: Sequence[Node]) -> Filtered:
        """Raises ExtenderFailed, also when the extender is ignorable: the caller goes on without it then."""
        given = {node.metadata.name for node in nodes}
        answer = _lower(await self._ask(self.settings.filter_verb, self._about(pod, nodes)))
        if answer.get("error"):
            raise ExtenderFailed(str(answer["error"]))
        if self.settings.knows_nodes and answer.get("nodenames") is not None:
            left = frozenset(answer["nodenames"])
            if unknown := sorted(left - given):
                raise ExtenderFailed(
                    f'extender "{self.settings.url}" claims a filtered node "{unknown[0]}" which is not found '
                    "in the input node list"
                )
        else:
            items = _lower(answer.get("nodes") or {}).get("items") or ()
            left = frozenset(one["metadata"]["name"] for one in items)
        hopeless = answer.get("failedandunresolvablenodes") or {}
        against = {
            name: why for name, why in (answer.get("failednodes") or {}).items() if name not in hopeless
        }
        return Filtered(left, against, hopeless)

    async def prioritize(self, pod: Pod, nodes: Sequence[Node]) -> Mapping[str, int]:
        """What to add to the nodes' scores, by name; nothing when it fails."""
        try:
            found = await self._ask(self.settings.prioritize_verb, self._about(pod, nodes))
        except ExtenderFailed as problem:
            LOG.warning("cannot let an extender rate nodes for pod %s: %s", pod.metadata.name, problem)
            return {}
        scores = (_lower(one) for one in found)
        return {one["host"]: int(one["score"]) * self.settings.weight * _SCALE for one in scores}

    async def preempt(self, pod: Pod, found: Sequence[Victims]) -> list[Victims]:
        """Those of the victims that the extender leaves on the list. Raises ExtenderFailed unless it is ignorable."""
        key = "NodeNameToMetaVictims" if self.settings.knows_nodes else "NodeNameToVictims"
        body = {"Pod": _raw(pod), key: {one.node: self._victims(one) for one in found}}
        try:
            answer = _lower(await self._ask(self.settings.preempt_verb, body))
            return list(self._kept(answer.get("nodenametometavictims") or {}, found))
        except ExtenderFailed as problem:
            if not self.settings.ignorable:
                raise
            LOG.warning("cannot ask an extender who leaves for pod %s: %s", pod.metadata.name, problem)
            return list(found)

    async def bind(self, pod: Pod, node: str) -> str:
        """Why it failed, "" when it is done."""
        meta = pod.metadata
        body = {"PodName": meta.name, "PodNamespace": meta.namespace, "PodUID": meta.uid, "Node": node}
        try:
            return str(_lower(await self._ask(self.settings.bind_verb, body)).get("error") or "")
        except ExtenderFailed as problem:
            return str(problem)

    def _about(self, pod: Pod, nodes: Sequence[Node]) -> dict[str, Any]:
        if self.settings.knows_nodes:
            return {"Pod": _raw(pod), "NodeNames": [node.metadata.name for node in nodes]}
        return {"Pod": _raw(pod), "Nodes": {"metadata": {}, "items": [_raw(node) for node in nodes]}}

    def _victims(self, one: Victims) -> dict[str, Any]:
        if self.settings.knows_nodes:
            pods: Iterable[Any] = ({"UID": pod.metadata.uid} for pod in one.pods)
        else:
            pods = (_raw(pod) for pod in one.pods)
        return {"Pods": list(pods), "NumPDBViolations": one.violations}

    def _kept(self, answer: Mapping[str, Any], found: Sequence[Victims]) -> Iterable[Victims]:
        by_name = {one.node: one for one in found}
        for node, given in answer.items():
            victims = _lower(given or {})
            there = {pod.metadata.uid: pod for pod in by_name[node].pods} if node in by_name else {}
            wanted = [_lower(pod).get("uid") for pod in victims.get("pods") or ()]
            if strange := [uid for uid in wanted if uid not in there]:
                raise ExtenderFailed(
                    f"extender: {self.settings.url} claims to preempt pod (UID: {strange[0]}) on node: {node}, "
                    "but the pod is not found on that node"
                )
            if wanted:
                pods = tuple(there[uid] for uid in wanted if uid)
                yield Victims(node, pods, int(victims.get("numpdbviolations") or 0))

    async def _ask(self, verb: str, body: Any) -> Any:
        if self._session is None:
            raise RuntimeError("an extender is to be entered before it is asked")
        url = f"{self.settings.url.rstrip('/')}/{verb}"
        about: dict[str, Any] = {"headers": {"Content-Type": "application/json"}}
        if self.settings.server_name:
            about["server_hostname"] = self.settings.server_name
        try:
            async with self._session.post(url, data=msgspec.json.encode(body), **about) as answer:
                if answer.status != _OK:
                    raise ExtenderFailed(f"failed {verb} with extender at URL {url}, code {answer.status}")
                return msgspec.json.decode(await answer.read())
        except TimeoutError as problem:
            raise ExtenderFailed(f"no answer from {url} within {self.settings.timeout:g} s") from problem
        except (aiohttp.ClientError, OSError, msgspec.DecodeError) as problem:
            raise ExtenderFailed(f"cannot ask {url}: {problem}") from problem


def _raw(item: Pod | Node) -> msgspec.Raw:
    return msgspec.Raw(encode(item))


def _lower(answer: Any) -> dict[str, Any]:
    """Go reads its fields whatever their case."""
    with contextlib.suppress(AttributeError):
        return {str(name).lower(): value for name, value in answer.items()}
    raise ExtenderFailed(f"cannot read the answer {answer!r:.100}: it is no object")
