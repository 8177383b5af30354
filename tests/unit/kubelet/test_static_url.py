"""Static pods from a URL: what an answer makes, and what a bad one leaves."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from kybern.kubelet.configz import configz
from kybern.kubelet.flags import FLAGS
from kybern.kubelet.flags import shown as flagz
from kybern.kubelet.settings import Settings
from kybern.kubelet.static import BadManifest, Manifests
from kybern.kubelet.static_url import Url, header, pods_of, sources
from tests.unit.kubelet.test_pieces import MANIFEST

URL = "http://pods.example/all"
ITEM = {"metadata": {"name": "web"}, "spec": {"containers": [{"name": "c", "image": "i"}]}}


def test_a_pod_or_a_list_of_pods() -> None:
    (one,) = pods_of(MANIFEST, URL, "n1").values()
    two = pods_of(
        json.dumps({"kind": "PodList", "apiVersion": "v1", "items": [ITEM, {**ITEM, "metadata": {"name": "dns"}}]}),
        URL, "n1",
    )  # fmt: skip

    assert (one.metadata.name, one.metadata.namespace) == ("etcd-n1", "kube-system")
    assert one.metadata.annotations["kubernetes.io/config.source"] == "http"
    assert sorted(pod.metadata.name for pod in two.values()) == ["dns-n1", "web-n1"]
    assert pods_of(json.dumps({"kind": "PodList", "apiVersion": "v1", "items": []}), URL, "n1") == {}


def test_another_content_is_another_pod() -> None:
    def uids(*items: object) -> set[str]:
        return set(pods_of(json.dumps({"kind": "PodList", "apiVersion": "v1", "items": items}), URL, "n1"))

    other = {**ITEM, "spec": {"containers": [{"name": "c", "image": "j"}]}}
    assert uids(ITEM) < uids(ITEM, other)
    assert uids(ITEM).isdisjoint(uids(other))
    assert uids(ITEM) == uids({"spec": ITEM["spec"], "metadata": ITEM["metadata"]})


@pytest.mark.parametrize("text", ["{", "[]", "kind: PodList\napiVersion: v1\nitems: {}", "kind: Service"])
def test_an_answer_that_is_no_pod_is_refused(text: str) -> None:
    with pytest.raises(BadManifest):
        pods_of(text, URL, "n1")


@asynccontextmanager
async def serving(answer: Callable[[web.Request], Awaitable[web.StreamResponse]]) -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_get("/all", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/all"
    finally:
        await runner.cleanup()


async def test_what_a_url_says_is_taken_until_it_says_something_else() -> None:
    told: dict[str, Any] = {"status": 200, "body": MANIFEST}
    asked: list[list[str]] = []

    async def answer(request: web.Request) -> web.StreamResponse:
        asked.append(request.headers.getall("X-Token", []))
        return web.Response(status=told["status"], text=told["body"])

    async with serving(answer) as url:
        source = Url(url, "n1", {"X-Token": ("a", "b")})
        first = await source.look()
        again = await source.look()
        told["status"] = 500
        broken = await source.look()
        told |= {"status": 200, "body": "kind: Service"}
        nonsense = await source.look()
        told["body"] = ""
        empty = await source.look()
        told["body"] = MANIFEST.replace("etcd:3", "etcd:4")
        second = await source.look()

    assert first is not None
    assert second is not None
    assert [pod.metadata.name for pod in (*first.values(), *second.values())] == ["etcd-n1", "etcd-n1"]
    assert first.keys() != second.keys()
    assert (again, broken, nonsense, empty) == (None, None, None, {})
    assert asked == [["a", "b"]] * 6


async def test_nobody_at_the_url_is_no_news(caplog: pytest.LogCaptureFixture) -> None:
    source = Url("http://127.0.0.1:1/all", "n1", {"X-Token": ("secret",)})

    with caplog.at_level("DEBUG"):
        found = [await source.look() for _ in range(4)]

    levels = [record.levelname for record in caplog.records if record.name == "kybern.kubelet.static_url"]
    assert found == [None] * 4
    assert levels == ["WARNING"] * 3 + ["DEBUG"]
    assert "secret" not in caplog.text


def test_fields_come_several_times_and_are_shown_to_nobody() -> None:
    assert header("a:hello,b:again,a:world,b:beautiful:yes") == {
        "a": ("hello", "world"),
        "b": ("again", "beautiful:yes"),
    }
    with pytest.raises(ValueError, match="expect string:string") as refused:
        header("secret")
    assert "secret" not in str(refused.value)
    shown = configz(Settings(static_pod_url=URL, static_pod_header={"Authorization": ("Bearer x",)}))
    assert shown["kubeletconfig"]["staticPodURLHeader"] == {"Authorization": ["<masked>"]}
    values = FLAGS.parse(["--manifest-url-header=Authorization:Bearer x"])
    assert values["manifest-url-header"] == {"Authorization": ("Bearer x",)}
    assert flagz(values)["manifest-url-header"] == "<masked>"


def test_both_sources_may_be_there(tmp_path: Path) -> None:
    both = list(sources(Settings(static_pod_path=str(tmp_path), static_pod_url=URL, url_every=5.0), "n1"))

    assert both == [Manifests(tmp_path, "n1"), Url(URL, "n1", {}, 5.0)]
    assert list(sources(Settings(), "n1")) == []
