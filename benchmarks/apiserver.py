"""What requests cost the API server: writes, reads, lists and watches by sixteen clients, over TLS, on etcd."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable

import msgspec
import uvloop

from benchmarks.measure import Benchmark, Row, resident_mebibytes
from benchmarks.server import CannotMeasure, Load, Request, Server, load, server
from kybern.machinery import protobuf

WRITES, PODS, LISTS, WATCHERS, WATCHED = 2000, 2000, 40, 50, 500
NAMESPACE = "/api/v1/namespaces/default/"
MAPS, ALL_PODS = NAMESPACE + "configmaps", NAMESPACE + "pods"
READY_ROUNDS = 300
PROTOBUF = "application/vnd.kubernetes.protobuf"
APPLY, STRATEGIC = "application/apply-patch+yaml", "application/strategic-merge-patch+json"


def config_map(number: int, key: str = "a", prefix: str = "c") -> bytes:
    """About a kilobyte."""
    metadata = {"name": f"{prefix}{number}", "namespace": "default"}
    raw = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {key: "x" * 900}}
    return msgspec.json.encode(raw)


def pod(number: int) -> bytes:
    """Two containers, with what pods usually say of them; every twentieth has the same label."""
    containers = [
        {
            "name": name,
            "image": f"registry.example/{name}:1",
            "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}],
            "ports": [{"containerPort": port}],
            "resources": {"requests": {"cpu": "100m", "memory": "64Mi"}, "limits": {"memory": "128Mi"}},
        }
        for name, port in (("web", 80), ("side", 81))
    ]
    metadata = {"name": f"p{number}", "namespace": "default", "labels": {"app": f"a{number % 20}"}}
    raw = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {"containers": containers}}
    return msgspec.json.encode(raw)


def got(path: str, accept: str = "*/*") -> Request:
    """The same question each time."""

    async def request(load: Load, _number: int) -> None:
        await load.ask("GET", path, accept=accept)

    return request


async def made(load: Load, number: int) -> None:
    await load.ask("POST", MAPS, config_map(number))


async def read(load: Load, number: int) -> None:
    await load.ask("GET", f"{MAPS}/c{number}")


async def replaced(load: Load, number: int) -> None:
    await load.ask("PUT", f"{MAPS}/c{number}", config_map(number, "b"))


async def patched(load: Load, number: int) -> None:
    await load.ask("PATCH", f"{MAPS}/c{number}", b'{"data":{"c":"d"}}', STRATEGIC)


async def applied(load: Load, number: int) -> None:
    path = f"{MAPS}/a{number}?fieldManager=benchmark"
    await load.ask("PATCH", path, config_map(number, prefix="a"), APPLY)


async def removed(load: Load, number: int) -> None:
    await load.ask("DELETE", f"{MAPS}/c{number}")


async def made_pod(load: Load, number: int) -> None:
    await load.ask("POST", ALL_PODS, pod(number))


async def ready(load: Load) -> None:
    for _ in range(READY_ROUNDS):
        with contextlib.suppress(CannotMeasure):
            await load.ask("GET", "/readyz")
            return
        await asyncio.sleep(0.1)
    raise CannotMeasure("the server does not become ready")


async def measure(found: Server) -> AsyncIterator[Row]:
    async with load(found) as clients:
        await ready(clients)
        yield Row("memory, idle", resident_mebibytes(found.pid), "MiB")
        yield await clients.measure("create a config map of 1 KB", WRITES, made)
        yield await clients.measure("get", WRITES, read)
        yield await clients.measure("update", WRITES, replaced)
        yield await clients.measure("strategic merge patch", WRITES, patched)
        yield await clients.measure("server-side apply, create", WRITES, applied)
        yield await clients.measure("delete", WRITES, removed)
        account = b'{"metadata":{"name":"default"}}'
        await clients.ask("POST", NAMESPACE + "serviceaccounts", account)
        yield await clients.measure("create a pod", PODS, made_pod)
        yield await clients.measure(f"list {PODS} pods", LISTS, got(ALL_PODS), 4)
        cached = got(ALL_PODS + "?resourceVersion=0")
        yield await clients.measure(f"list {PODS} pods, resourceVersion=0", LISTS, cached, 4)
        labelled = got(ALL_PODS + "?labelSelector=app%3Da3")
        yield await clients.measure(f"list {PODS // 20} of {PODS} pods by label", 5 * LISTS, labelled, 4)
        yield await watched(clients)
        async for row in in_protobuf(clients):
            yield row
        yield Row("memory, after all this", resident_mebibytes(found.pid), "MiB")


async def in_protobuf(clients: Load) -> AsyncIterator[Row]:
    """The same in the form that clients written in Go ask for; bodies, too."""
    listed = got(ALL_PODS, PROTOBUF)
    yield await clients.measure(f"list {PODS} pods in protobuf, first", 1, listed, 1)
    yield await clients.measure(f"list {PODS} pods in protobuf", LISTS, listed, 4)
    cached = got(ALL_PODS + "?resourceVersion=0", PROTOBUF)
    yield await clients.measure(f"list {PODS} pods in protobuf, resourceVersion=0", LISTS, cached, 4)

    async def made(load: Load, number: int) -> None:
        body = protobuf.encode(msgspec.json.decode(pod(number + PODS)))
        await load.ask("POST", ALL_PODS, body, PROTOBUF, PROTOBUF)

    async def read(load: Load, number: int) -> None:
        await load.ask("GET", f"{ALL_PODS}/p{number + PODS}", accept=PROTOBUF)

    yield await clients.measure("create a pod in protobuf", PODS, made)
    yield await clients.measure("get a pod in protobuf", PODS, read)
    yield await watched(clients, PROTOBUF)


async def watched(clients: Load, accept: str = "application/json") -> Row:
    """Writes that fifty watchers are told of."""
    # From now on, as a client that has listed before: what is there already is not sent.
    listed = msgspec.json.decode(await clients.ask("GET", MAPS + "?limit=1"))
    since = f"?watch=1&resourceVersion={listed['metadata']['resourceVersion']}"

    async def watch() -> None:
        headers = {"Accept": accept}
        async with clients.session.get(clients.server.url + MAPS + since, headers=headers) as answer:
            async for _chunk in answer.content.iter_any():
                pass

    async with asyncio.TaskGroup() as tasks:
        watchers = [tasks.create_task(watch()) for _ in range(WATCHERS)]
        await asyncio.sleep(1)
        form = " of protobuf" if accept == PROTOBUF else ""
        first = WATCHED if form else 0

        async def write(load: Load, number: int) -> None:
            await made(load, first + number)

        row = await clients.measure(f"create, {WATCHERS} watchers{form}", WATCHED, write)
        for watcher in watchers:
            watcher.cancel()
    return row


def rows() -> Iterable[Row]:
    async def collected(found: Server) -> list[Row]:
        return [row async for row in measure(found)]

    with server() as found:
        yield from uvloop.run(collected(found))


BENCHMARKS = (Benchmark("apiserver", rows),)
