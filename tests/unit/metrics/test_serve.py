"""Who is asked for is chosen and missed as metrics-server does it."""

from collections.abc import Mapping
from typing import Any, cast

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from kybern.api.core_v1 import Node
from kybern.api.meta_v1 import ObjectMeta
from kybern.client.cache import Cache
from kybern.metrics.names import Labelled, PodNames
from kybern.metrics.scrape import Scraper
from kybern.metrics.serve import Metrics
from kybern.metrics.usage import Use

USE = Use(1700000000.0, 15.0, 0.5, 1024)


class Things:
    """Two nodes and three pods; of one of each it is not known yet what it uses."""

    nodes = (Node(metadata=ObjectMeta(name="n1")), Node(metadata=ObjectMeta(name="n2")))
    pods = tuple(
        PodNames(metadata=Labelled(namespace=namespace, name=name, labels={"app": name}))
        for namespace, name in (("default", "web"), ("default", "new"), ("kube-system", "dns"))
    )

    def list(self, kind: type, namespace: str = "") -> list[Any]:
        if kind is Node:
            return [*self.nodes]
        return [pod for pod in self.pods if namespace in ("", pod.metadata.namespace)]

    def get(self, kind: type, namespace: str, name: str) -> Any:
        return next((one for one in self.list(kind, namespace) if one.metadata.name == name), None)


class Uses:
    def node(self, name: str) -> Use | None:
        return USE if name == "n1" else None

    def pods(self) -> Mapping[tuple[str, str], Mapping[str, Use]]:
        return {("default", "web"): {"c": USE}, ("kube-system", "dns"): {"c": USE}}


async def asked(path: str) -> tuple[int, dict[str, Any]]:
    app = web.Application()
    Metrics(cast("Cache", Things()), cast("Scraper", Uses())).routes(app)
    async with (
        TestClient(TestServer(app)) as client,
        client.get(f"/apis/metrics.k8s.io/v1beta1{path}") as answer,
    ):
        return answer.status, await answer.json()


@pytest.mark.parametrize(
    ("path", "names"),
    [
        ("/pods", ["web", "dns"]),
        ("/namespaces/default/pods", ["web"]),
        ("/pods?labelSelector=app%3Ddns", ["dns"]),
        ("/pods?fieldSelector=metadata.namespace!%3Dkube-system", ["web"]),
        ("/pods?fieldSelector=metadata.name%3Ddns,metadata.namespace%3D%3Dkube-system", ["dns"]),
        ("/nodes", ["n1"]),
        ("/nodes?fieldSelector=metadata.name!%3Dn1", []),
    ],
)
async def test_selectors_choose(path: str, names: list[str]) -> None:
    _code, found = await asked(path)

    assert [one["metadata"]["name"] for one in found["items"]] == names


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("/namespaces/default/pods/nobody", 'pods "nobody" not found'),
        ("/namespaces/default/pods/new", 'podmetrics.metrics.k8s.io "default/new" not found'),
        ("/nodes/nobody", 'nodes "nobody" not found'),
        ("/nodes/n2", 'nodemetrics.metrics.k8s.io "n2" not found'),
    ],
)
async def test_who_is_not_there_is_told_from_who_is_not_measured(path: str, message: str) -> None:
    code, found = await asked(path)

    assert (code, found["reason"], found["message"]) == (404, "NotFound", message)


async def test_only_names_select() -> None:
    code, found = await asked("/pods?fieldSelector=spec.nodeName%3Dn1")

    text = '"spec.nodeName" is not a known field selector: only "metadata.name", "metadata.namespace"'
    assert (code, found["message"]) == (400, text)
