"""A real API server that asks a webhook about the images of pods."""

from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from tests.protocol.apiserver_bed import Lab, Server
from tests.protocol.review_bed import kubeconfig, webhooks, with_status
from tests.protocol.webhook_server import Review, Webhooks

pytestmark = pytest.mark.etcd

PATH = "/images"
PODS = "/api/v1/namespaces/default/pods"


def review(asked: Review) -> Any:
    images = [one["image"] for one in asked["spec"]["containers"]]
    if "broken.test/a:1" in images:
        return 403, b"{}"
    if "bad.test/a:1" in images:
        return with_status(asked, allowed=False, reason="bad.test is not to be trusted")
    return with_status(asked, allowed=True)


@pytest.fixture(scope="module")
def hooks(lab: Lab) -> Iterator[Webhooks]:
    found = webhooks(lab)
    found.on(PATH, review)
    yield found
    found.stop()


@pytest.fixture(scope="module")
def server(lab: Lab, hooks: Webhooks, free_ports: Any) -> Server:
    file = kubeconfig(lab, hooks.url + PATH, "images")
    lab.write("images.yaml", yaml.safe_dump({"imagePolicy": {"kubeConfigFile": str(file)}}).encode())
    settings = {
        "apiVersion": "apiserver.config.k8s.io/v1",
        "kind": "AdmissionConfiguration",
        "plugins": [{"name": "ImagePolicyWebhook", "path": "images.yaml"}],
    }
    lab.write("admission.yaml", yaml.safe_dump(settings).encode())
    return lab.start(
        free_ports(),
        "--enable-admission-plugins=ImagePolicyWebhook",
        "--disable-admission-plugins=ServiceAccount",
        f"--admission-control-config-file={lab.directory}/admission.yaml",
    )


def pod(name: str, image: str) -> dict[str, Any]:
    return {"metadata": {"name": name}, "spec": {"containers": [{"name": "c", "image": image}]}}


def test_a_pod_passes_whose_images_the_webhook_allows(server: Server, hooks: Webhooks) -> None:
    for name in ("one", "two"):
        code, _ = server.ask("POST", PODS, pod(name, "good.test/a:1"))
        assert code == 201

    seen = [
        one["spec"] for one in hooks.seen[PATH] if one["spec"]["containers"] == [{"image": "good.test/a:1"}]
    ]
    assert seen == [{"containers": [{"image": "good.test/a:1"}], "namespace": "default"}], "it is asked once"


@pytest.mark.parametrize(
    ("image", "why"),
    [
        (
            "bad.test/a:1",
            "image policy webhook backend denied one or more images: bad.test is not to be trusted",
        ),
        ("broken.test/a:1", ""),
    ],
)
def test_a_pod_is_refused_whose_images_it_denies_or_does_not_judge(
    server: Server, image: str, why: str
) -> None:
    code, said = server.ask("POST", PODS, pod("bad", image))

    assert (code, said["reason"]) == (403, "Forbidden")
    assert said["message"].startswith(f'pods "bad" is forbidden: {why}')


def test_ephemeral_containers_are_judged_too(server: Server) -> None:
    server.ask("POST", PODS, pod("debugged", "good.test/b:1"))
    more = {"spec": {"ephemeralContainers": [{"name": "e", "image": "bad.test/a:1"}]}}
    code, said = server.ask(
        "PATCH", f"{PODS}/debugged/ephemeralcontainers", more, form="strategic-merge-patch+json"
    )

    assert code == 403
    assert "bad.test is not to be trusted" in said["message"]
