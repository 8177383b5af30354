"""Images from a private registry: policies, credentials, back-off, and what is told."""

import base64
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

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
    async with one_node(bed, image_max_age=1e-9) as node:
        await secret(node, registry, "key", PASSWORD)
        await node.add("short", asking(image), imagePullSecrets=[{"name": "key"}])
        await node.add("files", asking("busybox:1.36"))
        await node.until("short", running)
        await node.until("files", running)
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
