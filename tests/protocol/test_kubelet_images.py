"""Images from a private registry: policies, credentials, back-off, and what is told."""

import base64
import hashlib
import json
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from kybern.kubelet.collect import Collector
from tests.protocol.containerd_bed import SLEEP, Bed, OneNode, clean, first, one_node, running, waits_for
from tests.protocol.registry_bed import PASSWORD, USER, Registry

pytestmark = [pytest.mark.containerd, pytest.mark.timeout(180)]


@pytest.fixture(scope="module")
def registry(bed: Bed, free_ports: Callable[[], int]) -> Iterator[Registry]:
    found = Registry(bed.at, free_ports())
    found.start()
    yield found
    found.stop()


async def secret(node: OneNode, registry: Registry, name: str, password: str) -> None:
    auth = base64.b64encode(f"{USER}:{password}".encode()).decode()
    config = json.dumps({"auths": {registry.host: {"auth": auth}}}).encode()
    raw = {
        "metadata": {"name": name, "namespace": "default"}, "type": "kubernetes.io/dockerconfigjson",
        "data": {".dockerconfigjson": base64.b64encode(config).decode()},
    }  # fmt: skip
    await node.api.request("POST", "/api/v1/namespaces/default/secrets", raw)


def asking(image: str, policy: str = "IfNotPresent") -> dict[str, Any]:
    return {"name": "c", "image": image, "command": SLEEP, "imagePullPolicy": policy}


async def test_a_private_image_needs_the_right_secret(node: OneNode, registry: Registry) -> None:
    image = registry.put(node.bed, "busybox:1.36", "private/one:1")
    await secret(node, registry, "good", PASSWORD)
    await secret(node, registry, "bad", "guess")

    await node.add("none", asking(image, "Always"))
    await node.add("wrong", asking(image, "Always"), imagePullSecrets=[{"name": "bad"}, {"name": "missing"}])
    none = await node.until("none", waits_for("ErrImagePull"))
    await node.until("wrong", lambda p: waits_for("ErrImagePull")(p) or waits_for("ImagePullBackOff")(p))
    backed_off = await node.until("none", waits_for("ImagePullBackOff"))
    await node.add("right", asking(image), imagePullSecrets=[{"name": "bad"}, {"name": "good"}])
    right = await node.until("right", running)

    assert "no basic auth credentials" in first(none).state.waiting.message
    assert first(backed_off).state.waiting.message.startswith(
        f'Back-off pulling image "{image}": ErrImagePull: '
    )
    assert first(right).image == image
    assert first(right).image_id.startswith(f"{registry.host}/private/one@sha256:")
    told = node.events("right")
    assert [reason for reason, _message in told] == ["Pulling", "Pulled", "Created", "Started"]
    assert told[1][1].startswith(f'Successfully pulled image "{image}" in ')
    failed = [message for reason, message in node.events("none") if reason == "Failed"]
    assert failed[0].startswith(f'Failed to pull image "{image}": ')
    assert "Error: ErrImagePull" in failed
    assert "Error: ImagePullBackOff" in failed


async def test_a_name_that_is_none_is_told(node: OneNode) -> None:
    await node.add("nonsense", asking("not//a name"))

    pod = await node.until("nonsense", waits_for("InvalidImageName"))

    text = (
        'Failed to apply default image tag "not//a name": '
        'couldn\'t parse image name "not//a name": invalid reference format'
    )
    assert first(pod).state.waiting.message == text
    assert ("InspectFailed", text) in node.events("nonsense")
    assert ("Failed", "Error: InvalidImageName") in node.events("nonsense")


PROGRAM = """#!/usr/bin/env python3
import json, sys
asked = json.load(sys.stdin)
print(json.dumps({{"apiVersion": asked["apiVersion"], "kind": "CredentialProviderResponse", "cacheKeyType": "Registry",
    "auth": {{"{host}": {{"username": "{user}", "password": "{password}"}}}}}}))
"""


async def test_a_program_knows_the_credentials(bed: Bed, registry: Registry, tmp_path: Path) -> None:
    image = registry.put(bed, "busybox:1.36", "private/two:1")
    program = tmp_path / "known"
    program.write_text(PROGRAM.format(host=registry.host, user=USER, password=PASSWORD))
    program.chmod(0o755)
    config = tmp_path / "providers.yaml"
    one = {
        "name": "known", "apiVersion": "credentialprovider.kubelet.k8s.io/v1",
        "matchImages": [registry.host], "defaultCacheDuration": "1h",
    }  # fmt: skip
    raw = {"apiVersion": "kubelet.config.k8s.io/v1", "kind": "CredentialProviderConfig", "providers": [one]}
    config.write_text(json.dumps(raw))

    async with one_node(
        bed, credential_config=str(config), credential_programs=str(tmp_path), serialize_pulls=False
    ) as node:
        await node.add("provided", asking(image))
        await node.until("provided", running)
    await clean(bed)


async def test_images_that_nobody_uses_go_when_they_are_old(bed: Bed, registry: Registry) -> None:
    image = registry.put(bed, "busybox:1.36", "private/three:1")
    # The same image is there under names that need credentials, and this is about something else.
    async with one_node(bed, image_max_age=1e-9, image_proof="NeverVerify") as node:
        await secret(node, registry, "key", PASSWORD)
        await node.add("files", asking("busybox:1.36"))
        await node.until("files", running)
        await node.add("short", asking(image), imagePullSecrets=[{"name": "key"}])
        await node.until("short", running)
        collector = Collector(node.kubelet.agent, node.kubelet.here, node.kubelet.settings)
        await collector.look()
        await node.delete("short")
        await node.gone("short")
        before = await node.runtime.image("files:1")
        collector._images_at = 0.0
        await collector.look()
        after = await node.runtime.image("files:1")

        assert before is not None
        assert after is None
        assert await node.runtime.image("busybox:1.36") is not None
    await clean(bed)


async def test_a_private_image_that_is_there_is_only_for_those_who_may_have_it(
    bed: Bed, registry: Registry
) -> None:
    image = registry.put(bed, "busybox:1.36", "private/four:1")
    async with one_node(bed) as node:
        await secret(node, registry, "key", PASSWORD)
        await secret(node, registry, "same", PASSWORD)
        await secret(node, registry, "bad", "guess")
        await node.add("first", asking(image, "Always"), imagePullSecrets=[{"name": "key"}])
        await node.until("first", running)

        await node.add("nobody", asking(image))
        await node.add("never", asking(image, "Never"))
        await node.add("wrong", asking(image), imagePullSecrets=[{"name": "bad"}])
        await node.add("alike", asking(image), imagePullSecrets=[{"name": "same"}])
        await node.until("alike", running)
        nobody = await node.until("nobody", waits_for("ImagePullBackOff"))
        await node.until("never", waits_for("ErrImageNeverPull"))
        await node.until("wrong", waits_for("ImagePullBackOff"))

        assert "no basic auth credentials" in first(nobody).state.waiting.message
        text = f'Container image "{image}" already present on machine and can be accessed by the pod'
        assert ("Pulled", text) in node.events("alike")
    await clean(bed)
    digest = Parts(registry, "private/four").got("1")["digest"]
    registry.forget(bed, image, f"{registry.host}/private/four@{digest}")


async def test_an_image_that_is_a_volume_is_always_pulled_where_the_pod_says_so(
    bed: Bed, registry: Registry
) -> None:
    # Not of files:1, which a test of unused images takes away. The container's is the same under a name without credentials.
    image = registry.put(bed, "busybox:1.36", "private/files:1")
    async with one_node(bed, image_proof="NeverVerify") as node:
        await secret(node, registry, "key", PASSWORD)
        volume = {"name": "volume", "image": {"reference": image, "pullPolicy": "Always"}}
        mount = {"name": "volume", "mountPath": "/volume"}
        await node.add(
            "shows", {"name": "c", "command": SLEEP, "volumeMounts": [mount]},
            volumes=[volume], imagePullSecrets=[{"name": "key"}], restartPolicy="Always",
        )  # fmt: skip
        await node.until("shows", running)

        assert await node.execute("shows", "ls", "/volume/bin/busybox") == "/volume/bin/busybox"
        assert any(f'Successfully pulled image "{image}"' in text for _reason, text in node.events("shows"))
    await clean(bed)
    digest = Parts(registry, "private/files").got("1")["digest"]
    registry.forget(bed, image, f"{registry.host}/private/files@{digest}")


class Parts:
    """Puts manifests and what they name into a registry, without a client of images."""

    def __init__(self, registry: Registry, name: str) -> None:
        self._base = f"http://{registry.host}/v2/{name}"
        auth = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        self._headers = {"Authorization": f"Basic {auth}"}

    def _ask(self, method: str, url: str, data: bytes | None = None, **headers: str) -> tuple[bytes, Any]:
        request = urllib.request.Request(url, data, {**self._headers, **headers}, method=method)
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.read(), answer.headers

    def blob(self, data: bytes) -> dict[str, Any]:
        digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
        _body, headers = self._ask("POST", f"{self._base}/blobs/uploads/")
        where = headers["Location"]
        self._ask(
            "PUT", f"{where}{'&' if '?' in where else '?'}digest={digest}", data,
            **{"Content-Type": "application/octet-stream"},
        )  # fmt: skip
        return {"digest": digest, "size": len(data)}

    def manifest(self, tag: str, content: dict[str, Any]) -> dict[str, Any]:
        data = json.dumps(content).encode()
        digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
        self._ask(
            "PUT", f"{self._base}/manifests/{tag or digest}", data, **{"Content-Type": content["mediaType"]}
        )
        return {"mediaType": content["mediaType"], "digest": digest, "size": len(data)}

    def got(self, tag: str) -> dict[str, Any]:
        accepted = f"{DOCKER}.manifest.v2+json, {OCI}.manifest.v1+json"
        body, headers = self._ask("GET", f"{self._base}/manifests/{tag}", Accept=accepted)
        media, digest = headers["Content-Type"], headers["Docker-Content-Digest"]
        return {"mediaType": media, "digest": digest, "size": len(body)}


DOCKER, OCI = "application/vnd.docker.distribution", "application/vnd.oci.image"


async def test_an_index_gives_what_is_for_this_machine_by_tag_and_by_digest(
    bed: Bed, registry: Registry
) -> None:
    full = registry.put(bed, "busybox:1.36", "private/many:plain")
    parts = Parts(registry, "private/many")
    good = parts.got("plain")
    config = parts.blob(
        json.dumps({"architecture": "s390x", "os": "linux", "rootfs": {"type": "layers"}}).encode()
    )
    other = parts.manifest(
        "", {"schemaVersion": 2, "mediaType": f"{OCI}.manifest.v1+json", "layers": [],
             "config": {**config, "mediaType": f"{OCI}.config.v1+json"}},
    )  # fmt: skip
    index = {
        "schemaVersion": 2, "mediaType": f"{OCI}.index.v1+json",
        "manifests": [
            {**other, "platform": {"os": "linux", "architecture": "s390x"}},
            {**good, "platform": {"os": "linux", "architecture": "amd64"}},
        ],
    }  # fmt: skip
    digest = parts.manifest("all", index)["digest"]
    repository = full.rpartition(":")[0]

    async with one_node(bed) as node:
        await secret(node, registry, "key", PASSWORD)
        for name, image in (("tag", f"{repository}:all"), ("digest", f"{repository}@{digest}")):
            await node.add(name, asking(image), imagePullSecrets=[{"name": "key"}])
        tagged, digested = await node.until("tag", running), await node.until("digest", running)

    assert first(tagged).image_id == f"{repository}@{digest}"
    assert first(digested).image_id == f"{repository}@{digest}"
    await clean(bed)
    registry.forget(bed, f"{repository}:all", f"{repository}@{digest}")


async def test_an_image_that_is_broken_is_told_and_tried_again(bed: Bed, registry: Registry) -> None:
    parts = Parts(registry, "private/broken")
    config, layer = parts.blob(b"{]"), parts.blob(b"no archive")
    parts.manifest(
        "1", {"schemaVersion": 2, "mediaType": f"{OCI}.manifest.v1+json",
              "config": {**config, "mediaType": f"{OCI}.config.v1+json"},
              "layers": [{**layer, "mediaType": f"{OCI}.layer.v1.tar+gzip"}]},
    )  # fmt: skip
    image = f"{registry.host}/private/broken:1"

    async with one_node(bed) as node:
        await secret(node, registry, "key", PASSWORD)
        await node.add("broken", asking(image), imagePullSecrets=[{"name": "key"}])
        broken = await node.until("broken", waits_for("ImagePullBackOff"))

        assert f'Back-off pulling image "{image}": ErrImagePull: ' in first(broken).state.waiting.message
        told = node.events("broken")
        assert ("BackOff", f'Back-off pulling image "{image}"') in told
        assert any(reason == "Failed" and image in message for reason, message in told)
    await clean(bed)


@asynccontextmanager
async def redirecting(registry: Registry, port: int, told: list[str]) -> AsyncIterator[str]:
    """In front of a registry, as those in clouds are: blobs are answered by 307, and lie elsewhere, without a password."""

    async def elsewhere(request: web.Request) -> web.StreamResponse:
        digest = request.match_info["digest"].removeprefix("sha256:")
        told.append(f"{digest} {'Authorization' in request.headers}")
        return web.FileResponse(
            registry.at / f"registry/docker/registry/v2/blobs/sha256/{digest[:2]}/{digest}/data"
        )

    async def passed(request: web.Request) -> web.StreamResponse:
        digest = request.path.rpartition("/blobs/")[2] if "/blobs/" in request.path else ""
        wanted = {
            name: request.headers[name] for name in ("Authorization", "Accept") if name in request.headers
        }
        async with (
            aiohttp.ClientSession(auto_decompress=False) as session,
            session.request(
                request.method, f"http://{registry.host}{request.rel_url}", headers=wanted
            ) as answer,
        ):
            body = await answer.read()
            if digest and answer.status == 200:
                # Another name of the same machine: what was said to one host is not said to another.
                raise web.HTTPTemporaryRedirect(f"http://localhost:{port}/elsewhere/{digest}")
            kept = ("Content-Type", "Docker-Content-Digest", "Www-Authenticate", "Content-Length")
            headers = {name: answer.headers[name] for name in kept if name in answer.headers}
            if request.method != "HEAD":
                headers.pop("Content-Length", None)
            return web.Response(status=answer.status, body=body, headers=headers)

    app = web.Application()
    app.router.add_get("/elsewhere/{digest}", elsewhere)
    app.router.add_route("*", "/{any:.*}", passed)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", port).start()
        yield f"127.0.0.1:{port}"
    finally:
        await runner.cleanup()


async def test_blobs_may_lie_elsewhere(bed: Bed, registry: Registry, unused_tcp_port: int) -> None:
    parts = Parts(registry, "private/far")
    config = {
        "architecture": "amd64",
        "os": "linux",
        "rootfs": {"type": "layers", "diff_ids": []},
        "made": "for this",
    }
    blob = parts.blob(json.dumps(config).encode())
    parts.manifest(
        "1", {"schemaVersion": 2, "mediaType": f"{OCI}.manifest.v1+json", "layers": [],
              "config": {**blob, "mediaType": f"{OCI}.config.v1+json"}},
    )  # fmt: skip
    told: list[str] = []
    async with redirecting(registry, unused_tcp_port, told) as host, one_node(bed) as node:
        await secret(node, Registry(registry.at, unused_tcp_port), "key", PASSWORD)
        image = f"{host}/private/far:1"
        await node.add("far", asking(image), imagePullSecrets=[{"name": "key"}])
        # There is nothing in it that could run, but it is there.
        await node.until("far", lambda _pod: any(reason == "Pulled" for reason, _text in node.events("far")))

    assert told == [f"{blob['digest'].removeprefix('sha256:')} False"]
    await clean(bed)
