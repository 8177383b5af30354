"""An API server in a dict, behind the same verbs as the real one: as much of it as control loops can tell apart.

Keeps versions, uids, finalizers, deletion with propagation, status, scale and finalize subresources, merge patches with
preconditions, generation, watches and discovery. Knows no validation and few defaults. Behind it is a server of metrics.
"""

import asyncio
import json
import uuid
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from copy import deepcopy
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, override
from urllib.parse import parse_qs, unquote, urlsplit

import msgspec

from kybern.client.verbs import JSON
from kybern.machinery.errors import AlreadyExists, ApiError, Conflict, NotFound
from kybern.machinery.selectors import parse_labels
from kybern.machinery.struct import Object, encode
from tests.simulation.fights import WRITER, Fights
from tests.simulation.through import Answering, Asked
from tests.simulation.usage import METRICS, used

type Raw = dict[str, Any]


@dataclass(frozen=True)
class Resource:
    api_version: str
    kind: str
    plural: str
    namespaced: bool


def resource_of(kind: type[Object]) -> Resource:
    return Resource(kind.api_version, kind.kind, kind.plural, kind.namespaced)


class FakeApi(Answering):
    """``refuse`` may raise an ApiError for a request (method, path), to see what a loop makes of it."""

    def __init__(
        self, *kinds: type[Object], clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self.resources = {
            self._root(kind.api_version) + "/" + kind.plural: resource_of(kind) for kind in kinds
        }
        self.objects: dict[tuple[str, str, str], Raw] = {}
        self.revision = 0
        self.log: list[tuple[int, str, str, Raw]] = []
        self.requests: list[tuple[str, str]] = []
        self.refuse: Callable[[str, str], None] = lambda _method, _path: None
        self.clock = clock
        self.fights = Fights()
        # What is answered to a SubjectAccessReview, and to a GET of other documents, by path.
        self.allows: Callable[[Raw], bool] = lambda _review: False
        self.documents: dict[str, Raw] = {}
        # What the running pods of an app have to do together, in millicores, by namespace and label.
        self.loads: dict[tuple[str, str], int] = {}
        # What lies in the store in a form that nobody would write today: any write of it helps.
        self.stale: set[tuple[str, str, str]] = set()
        # Who has written anything so far.
        self.writers: set[str] = set()
        self._news = asyncio.Condition()

    @staticmethod
    def _root(api_version: str) -> str:
        return f"/apis/{api_version}" if "/" in api_version else f"/api/{api_version}"

    def _where(self, path: str) -> tuple[Resource, str, str, str, str]:
        parts = [unquote(part) for part in path.strip("/").split("/")]
        head = 3 if parts[0] == "apis" else 2
        root, rest = "/" + "/".join(parts[:head]), parts[head:]
        namespace = ""
        if rest[0] == "namespaces" and len(rest) > 2 and f"{root}/{rest[2]}" in self.resources:
            namespace, rest = rest[1], rest[2:]
        resource = self.resources.get(f"{root}/{rest[0]}")
        if resource is None:
            raise NotFound("the server could not find the requested resource")
        name = rest[1] if len(rest) > 1 else ""
        return resource, f"{root}/{rest[0]}", namespace, name, rest[2] if len(rest) > 2 else ""

    @override
    async def answer(self, asked: Asked) -> bytes:
        await asyncio.sleep(0)
        parts = urlsplit(asked.path)
        if asked.writes:
            self.requests.append((asked.method, parts.path))
        self.refuse(asked.method, parts.path)
        if parts.path == "/apis" or (parts.path.count("/") < 4 and parts.path in self._roots()):
            return json.dumps(self._discovery(parts.path)).encode()
        if parts.path in self.documents and not asked.writes:
            return json.dumps(self.documents[parts.path]).encode()
        if parts.path.startswith(METRICS):
            return json.dumps(self._metrics(parts.path, parse_qs(parts.query)["labelSelector"][0])).encode()
        given = json.loads(asked.sent or b"null")
        if parts.path.endswith("/subjectaccessreviews"):
            return json.dumps({**given, "status": {"allowed": self.allows(given)}}).encode()
        resource, collection, namespace, name, subresource = self._where(parts.path)
        key = (collection, namespace, name)
        answer = getattr(self, f"_{asked.method.lower()}")(resource, key, subresource, given)
        async with self._news:
            self._news.notify_all()
        return json.dumps(answer).encode()

    def _roots(self) -> set[str]:
        return {self._root(one.api_version) for one in self.resources.values()}

    def _discovery(self, path: str) -> Raw:
        if path == "/apis":
            groups = {
                one.api_version.split("/")[0]: one.api_version
                for one in self.resources.values()
                if "/" in one.api_version
            }
            return {
                "groups": [
                    {
                        "name": name,
                        "versions": [{"groupVersion": version, "version": version.split("/")[1]}],
                        "preferredVersion": {"groupVersion": version, "version": version.split("/")[1]},
                    }
                    for name, version in groups.items()
                ]
            }
        verbs = ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"]
        found = [one for one in self.resources.values() if self._root(one.api_version) == path]
        return {
            "groupVersion": path.removeprefix("/apis/").removeprefix("/api/"),
            "resources": [
                {"name": one.plural, "kind": one.kind, "namespaced": one.namespaced, "verbs": verbs}
                for one in found
            ]
            + [
                {
                    "name": f"{one.plural}/scale",
                    "kind": "Scale",
                    "namespaced": True,
                    "verbs": ["get", "update"],
                }
                for one in found
                if one.kind in _SCALED
            ],
        }

    def _metrics(self, path: str, selector: str) -> Raw:
        """What the metrics server says of the pods that a selector chooses in a namespace."""
        namespace, wanted = path.removeprefix(METRICS).split("/")[0], parse_labels(selector)
        pods = [
            item
            for (where, at, _), item in self.objects.items()
            if where == "/api/v1/pods"
            and at == namespace
            and wanted.matches(item["metadata"].get("labels") or {})
        ]
        load = next(
            (
                load
                for (at, app), load in self.loads.items()
                if at == namespace and wanted.matches({"app": app})
            ),
            0,
        )
        return used(pods, load, self._now())

    def _get(self, resource: Resource, key: tuple[str, str, str], sub: str, _body: Any) -> Raw:
        if key[2] and sub == "scale":
            return _scale(self._known(resource, key))
        if key[2]:
            return self._known(resource, key)
        items = [
            item
            for (kind, namespace, _), item in self.objects.items()
            if kind == key[0] and key[1] in ("", namespace)
        ]
        return {"kind": "List", "metadata": {"resourceVersion": str(self.revision)}, "items": items}

    def _known(self, resource: Resource, key: tuple[str, str, str]) -> Raw:
        if key not in self.objects:
            raise NotFound(f'{resource.plural} "{key[2]}" not found')
        return self.objects[key]

    def _bind(self, resource: Resource, key: tuple[str, str, str], body: Raw) -> Raw:
        """Put a pod on a node, once."""
        found = deepcopy(self._known(resource, key))
        if found["spec"].get("nodeName"):
            raise Conflict(f"pod {key[2]} is already assigned to node {found['spec']['nodeName']}")
        found["spec"]["nodeName"] = body["target"]["name"]
        return self._write("MODIFIED", key, found)

    def _post(self, resource: Resource, key: tuple[str, str, str], sub: str, body: Raw) -> Raw:
        if sub == "binding":
            return self._bind(resource, key, body)
        metadata = body.setdefault("metadata", {})
        if not metadata.get("name"):
            metadata["name"] = metadata["generateName"] + uuid.uuid4().hex[:5]
        where = (key[0], key[1], metadata["name"])
        if where in self.objects:
            raise AlreadyExists(f'{resource.plural} "{metadata["name"]}" already exists')
        metadata["uid"] = str(uuid.uuid4())
        metadata["creationTimestamp"] = self._now()
        metadata["generation"] = 1
        body |= {"apiVersion": resource.api_version, "kind": resource.kind}
        body.pop("status", None)
        if resource.kind == "Namespace":
            body["spec"] = {"finalizers": ["kubernetes"]}
        return self._write("ADDED", where, body)

    def _now(self) -> str:
        return self.clock().strftime("%Y-%m-%dT%H:%M:%SZ")

    def _write(self, kind: str, key: tuple[str, str, str], body: Raw) -> Raw:
        self.revision += 1
        body["metadata"]["resourceVersion"] = str(self.revision)
        self.writers.add(WRITER.get())
        self.stale.discard(key)
        self.fights.saw(WRITER.get(), key, self.objects.get(key), None if kind == "DELETED" else body)
        if kind == "DELETED":
            self.objects.pop(key, None)
        else:
            self.objects[key] = body
        self.log.append((self.revision, kind, key[0], deepcopy(body)))
        return body

    def _patch(self, resource: Resource, key: tuple[str, str, str], sub: str, body: Raw) -> Raw:
        return self._change(resource, key, sub, lambda old: _merged(old, body), body)

    def _put(self, resource: Resource, key: tuple[str, str, str], sub: str, body: Raw) -> Raw:
        if sub == "scale":
            wanted = {"spec": {"replicas": body["spec"]["replicas"]}}
            return _scale(self._change(resource, key, "", lambda old: _merged(old, wanted), body))
        return self._change(resource, key, sub, lambda _old: body, body)

    def _change(
        self, resource: Resource, key: tuple[str, str, str], sub: str, change: Callable[[Raw], Raw], body: Raw
    ) -> Raw:
        old = self._known(resource, key)
        asked = body.get("metadata", {}).get("resourceVersion")
        if asked and asked != old["metadata"]["resourceVersion"]:
            raise Conflict(f'{resource.plural} "{key[2]}": the object has been modified')
        uid = body.get("metadata", {}).get("uid")
        if uid and uid != old["metadata"]["uid"]:
            raise Conflict(f'{resource.plural} "{key[2]}": Precondition failed: UID')
        new = change(deepcopy(old))
        if sub in ("status", "approval"):
            new = {**deepcopy(old), "status": new.get("status", {})}
        elif "status" in old:
            new["status"] = old["status"]
        new["metadata"] = {
            **new["metadata"],
            **{name: old["metadata"][name] for name in _KEPT if name in old["metadata"]},
        }
        if sub == "" and {**new, "metadata": 0} != {**old, "metadata": 0}:
            new["metadata"]["generation"] = old["metadata"].get("generation", 1) + 1
        if new == old and key not in self.stale:
            return old
        return self._settled(key, new)

    def _settled(self, key: tuple[str, str, str], body: Raw) -> Raw:
        """Gone when it was to be deleted and nothing holds it any more."""
        metadata = body["metadata"]
        held = (
            metadata.get("finalizers") or (body.get("spec") or {}).get("finalizers") or metadata.get("held")
        )
        if metadata.get("deletionTimestamp") and not held:
            return self._write("DELETED", key, body)
        return self._write("MODIFIED", key, body)

    def _delete(self, resource: Resource, key: tuple[str, str, str], _sub: str, options: Raw | None) -> Raw:
        if not key[2]:
            for one in [one for one in self.objects if one[0] == key[0] and one[1] == key[1]]:
                self._delete(resource, one, "", options)
            return {"kind": "Status", "status": "Success"}
        body = deepcopy(self._known(resource, key))
        options = options or {}
        metadata = body["metadata"]
        for what, known in options.get("preconditions", {}).items():
            if known and known != metadata[what]:
                raise Conflict(f"Precondition failed: {what} in precondition")
        finalizer = {"Foreground": "foregroundDeletion", "Orphan": "orphan"}.get(
            options.get("propagationPolicy", "")
        )
        if finalizer and finalizer not in metadata.get("finalizers", []):
            metadata["finalizers"] = [*metadata.get("finalizers", []), finalizer]
        _mark(resource, body, options)
        if metadata.get("deletionTimestamp") and not finalizer and options.get("gracePeriodSeconds") != 0:
            return body
        metadata.setdefault("deletionTimestamp", self._now())
        if body == self._known(resource, key):
            # Asked for before, and something holds it still: no news.
            return body
        return self._settled(key, body)

    @override
    @asynccontextmanager
    async def stream(
        self, path: str, *, accept: str = JSON, silence: float = 90.0
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        parts = urlsplit(path)
        _, collection, namespace, _, _ = self._where(parts.path)
        seen = int(parse_qs(parts.query)["resourceVersion"][0])
        yield self._changes(collection, namespace, seen)

    async def _changes(self, collection: str, namespace: str, seen: int) -> AsyncIterator[bytes]:
        at = 0
        while True:
            # Who reads slowly misses nothing that is written meanwhile.
            news = self.log[at:]
            at += len(news)
            for revision, kind, where, body in news:
                if (
                    revision > seen
                    and where == collection
                    and namespace in ("", body["metadata"].get("namespace", ""))
                ):
                    yield json.dumps({"type": kind, "object": body}).encode() + b"\n"
            async with self._news:
                while len(self.log) <= at:
                    await self._news.wait()

    # What tests use besides.

    def all[T: Object](self, kind: type[T], namespace: str = "") -> list[T]:
        collection = self._root(kind.api_version) + "/" + kind.plural
        found = [
            item
            for (where, at, _), item in self.objects.items()
            if where == collection and namespace in ("", at)
        ]
        return [msgspec.convert(item, kind) for item in found]

    def one[T: Object](self, kind: type[T], namespace: str, name: str) -> T | None:
        found = self.objects.get((self._root(kind.api_version) + "/" + kind.plural, namespace, name))
        return msgspec.convert(found, kind) if found is not None else None

    def holds(self, item: Any) -> bool:
        """Whether there is an object of this name still."""
        return self._key(item) in self.objects

    def _key(self, item: Any) -> tuple[str, str, str]:
        metadata = item.metadata
        return self._root(item.api_version) + "/" + item.plural, metadata.namespace, metadata.name

    def age(self, kind: type[Object]) -> None:
        """All that is there of a kind was written in a form that is out of use."""
        collection = self._root(kind.api_version) + "/" + kind.plural
        self.stale |= {key for key in self.objects if key[0] == collection}

    async def set_status(self, item: Any, **status: Any) -> None:
        old = self.objects[self._key(item)]
        await self.request("PATCH", _path(item) + "/status", {"status": {**old.get("status", {}), **status}})

    async def forget(self, item: Object) -> None:
        """What a kubelet does at the end of a pod."""
        await self.request("DELETE", _path(item), {"gracePeriodSeconds": 0})


def _mark(resource: Resource, body: Raw, options: Raw) -> None:
    """What deleting means for some kinds: who else has to let go, and what their status says meanwhile."""
    # A pod on a node goes when its kubelet says so: with grace it is only marked.
    if resource.kind == "Pod" and body.get("spec", {}).get("nodeName"):
        body["metadata"]["held"] = options.get("gracePeriodSeconds") != 0
    if resource.kind == "Namespace":
        body["status"] = {**body.get("status", {}), "phase": "Terminating"}


def _scale(item: Raw) -> Raw:
    """The size of a workload, as its subresource shows it."""
    chosen = item["spec"]["selector"]
    labels = chosen.get("matchLabels") or {} if "matchLabels" in chosen else chosen
    kept = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")
    return {
        "apiVersion": "autoscaling/v1",
        "kind": "Scale",
        "metadata": {name: item["metadata"][name] for name in kept},
        "spec": {"replicas": item["spec"].get("replicas", 0)},
        "status": {
            "replicas": item.get("status", {}).get("replicas", 0),
            "selector": ",".join(f"{key}={value}" for key, value in labels.items()),
        },
    }


def _path(item: Any) -> str:
    middle = f"/namespaces/{item.metadata.namespace}" if item.namespaced else ""
    return f"{FakeApi._root(item.api_version)}{middle}/{item.plural}/{item.metadata.name}"


def _merged(old: Any, patch: Any) -> Any:
    if not isinstance(patch, dict):
        return patch
    result = dict(old) if isinstance(old, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = _merged(result.get(key), value)
    return result


_SCALED = frozenset({"Deployment", "ReplicaSet", "ReplicationController", "StatefulSet"})
_KEPT = ("uid", "creationTimestamp", "deletionTimestamp", "name", "namespace", "held", "generation")

__all__ = ["ApiError", "FakeApi", "Iterable", "encode"]
