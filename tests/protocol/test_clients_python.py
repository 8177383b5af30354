"""Clients of Python that others wrote: the official one, kr8s and lightkube, each as its documentation uses it."""

import gc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import kr8s
import kubernetes
import lightkube
import pytest
from kr8s.objects import ConfigMap as Kr8sConfigMap
from kr8s.objects import Deployment as Kr8sDeployment
from kr8s.objects import new_class
from kubernetes.client.exceptions import ApiException
from kubernetes.dynamic import DynamicClient
from lightkube.core.exceptions import ApiError
from lightkube.generic_resource import create_namespaced_resource
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.apps_v1 import Deployment
from lightkube.resources.core_v1 import ConfigMap
from lightkube.types import PatchType

from tests.protocol.apiserver_bed import Lab, Server

# These clients leave connections to the garbage collector, each in its own way.
pytestmark = [
    pytest.mark.etcd,
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"


@pytest.fixture(autouse=True)
def collected() -> Iterator[None]:
    """What a client leaves is collected before the next test, which would be blamed for it."""
    yield
    gc.collect()


@pytest.fixture(scope="module")
def server(lab: Lab, free_ports: Callable[[], int]) -> Server:
    found = lab.start(free_ports(), "--endpoint-reconciler-type=none")
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
    names = {"plural": "kites", "singular": "kite", "kind": "Kite", "listKind": "KiteList"}
    definition = {
        "metadata": {"name": "kites.py.example.com"},
        "spec": {"group": "py.example.com", "scope": "Namespaced", "names": names, "versions": [version]},
    }
    assert found.ask("POST", CRDS, definition)[0] == 201
    found.wait("/apis/py.example.com/v1/namespaces/default/kites")
    return found


@pytest.fixture(scope="module")
def kubeconfig(lab: Lab, server: Server) -> Path:
    return lab.kubeconfig(server)


def deployment(name: str) -> dict[str, Any]:
    labels = {"app": name}
    container = {"name": "web", "image": "nginx"}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [container]}}
    spec = {"replicas": 1, "selector": {"matchLabels": labels}, "template": template}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": spec}


@pytest.fixture
def official(kubeconfig: Path) -> Iterator[Any]:
    with kubernetes.config.new_client_from_config(str(kubeconfig)) as api:
        yield api


def test_the_official_client_creates_changes_and_deletes(official: Any) -> None:
    core = kubernetes.client.CoreV1Api(official)
    body = kubernetes.client.V1ConfigMap(
        metadata=kubernetes.client.V1ObjectMeta(name="official", labels={"of": "official"}), data={"a": "1"}
    )
    made = core.create_namespaced_config_map("default", body)
    patched = core.patch_namespaced_config_map("official", "default", {"data": {"b": "2"}})
    made.data = {"a": "late"}
    with pytest.raises(ApiException) as conflict:
        core.replace_namespaced_config_map("official", "default", made)
    with pytest.raises(ApiException) as twice:
        core.create_namespaced_config_map("default", body)
    found = core.list_namespaced_config_map("default", label_selector="of=official").items
    core.delete_namespaced_config_map("official", "default")
    with pytest.raises(ApiException) as missing:
        core.read_namespaced_config_map("official", "default")

    assert patched.data == {"a": "1", "b": "2"}
    assert [each.metadata.name for each in found] == ["official"]
    assert (conflict.value.status, twice.value.status, missing.value.status) == (409, 409, 404)


def test_the_official_client_pages_and_watches(official: Any) -> None:
    core = kubernetes.client.CoreV1Api(official)
    for at in range(5):
        body = {"metadata": {"name": f"page-{at}", "labels": {"paged": "yes"}}}
        core.create_namespaced_config_map("default", body)
    names: list[str] = []
    token = None
    pages = 0
    while pages == 0 or token:
        page = core.list_namespaced_config_map(
            "default", label_selector="paged=yes", limit=2, _continue=token
        )
        names += [each.metadata.name for each in page.items]
        token, pages = page.metadata._continue, pages + 1
    core.delete_collection_namespaced_config_map("default", label_selector="paged=yes")
    watch = kubernetes.watch.Watch()
    seen = []
    since = page.metadata.resource_version
    for event in watch.stream(
        core.list_namespaced_config_map,
        "default",
        label_selector="paged=yes",
        resource_version=since,
        timeout_seconds=20,
    ):
        seen.append((event["type"], event["object"].metadata.name))
        if len(seen) == 5:
            watch.stop()

    assert (names, pages) == ([f"page-{at}" for at in range(5)], 3)
    assert sorted(seen) == [("DELETED", f"page-{at}") for at in range(5)]


def test_the_official_client_uses_subresources(official: Any) -> None:
    apps = kubernetes.client.AppsV1Api(official)
    apps.create_namespaced_deployment("default", deployment("scaled"))
    scale = apps.patch_namespaced_deployment_scale("scaled", "default", {"spec": {"replicas": 3}})
    status = apps.patch_namespaced_deployment_status(
        "scaled", "default", {"status": {"replicas": 2, "observedGeneration": 1}, "spec": {"replicas": 9}}
    )
    token = kubernetes.client.CoreV1Api(official)
    account = {"metadata": {"name": "caller"}}
    token.create_namespaced_service_account("default", account)
    spec = kubernetes.client.V1TokenRequestSpec(audiences=[], expiration_seconds=600)
    granted = token.create_namespaced_service_account_token(
        "caller", "default", kubernetes.client.AuthenticationV1TokenRequest(spec=spec)
    )
    apps.delete_namespaced_deployment("scaled", "default")

    assert (scale.spec.replicas, status.spec.replicas, status.status.replicas) == (3, 3, 2)
    assert granted.status.token.count(".") == 2


def test_the_official_dynamic_client_finds_and_applies_custom_kinds(official: Any) -> None:
    kites = DynamicClient(official).resources.get(api_version="py.example.com/v1", kind="Kite")
    body = {
        "apiVersion": "py.example.com/v1",
        "kind": "Kite",
        "metadata": {"name": "red"},
        "spec": {"tail": 1},
    }
    made = kites.server_side_apply(body=body, namespace="default", field_manager="tests")
    again = kites.patch(
        name="red",
        namespace="default",
        body={"spec": {"tail": 2}},
        content_type="application/merge-patch+json",
    )
    listed = kites.get(namespace="default").items
    kites.delete(name="red", namespace="default")

    assert (made.spec.tail, again.spec.tail, len(listed)) == (1, 2, 1)


@pytest.mark.filterwarnings("ignore:Kubernetes version:UserWarning")  # of servers newer than kr8s itself
def test_kr8s_creates_changes_and_deletes(kubeconfig: Path) -> None:
    api = kr8s.api(kubeconfig=str(kubeconfig))
    labelled = {"name": "kr8s", "namespace": "default", "labels": {"of": "kr8s"}}
    config_map = Kr8sConfigMap({"metadata": labelled, "data": {"a": "1"}}, api=api)
    config_map.create()
    config_map.patch({"data": {"b": "2"}})
    config_map.label(colour="red")
    found = list(api.get("configmaps", namespace="default", label_selector="of=kr8s,colour=red"))
    config_map.delete()
    with pytest.raises(kr8s.NotFoundError):
        Kr8sConfigMap.get("kr8s", namespace="default", api=api)

    made = Kr8sDeployment(
        {**deployment("kr8s"), "metadata": {"name": "kr8s", "namespace": "default"}}, api=api
    )
    made.create()
    made.patch({"spec": {"replicas": 2}})
    made.refresh()
    made.delete()
    kite_class = new_class(kind="Kite", version="py.example.com/v1", namespaced=True, plural="kites")
    kite = kite_class({"metadata": {"name": "kr8s", "namespace": "default"}, "spec": {"tail": 4}}, api=api)
    kite.create()
    kites = list(api.get("kites.py.example.com", namespace="default"))
    kite.delete()

    assert [dict(each.data) for each in found] == [{"a": "1", "b": "2"}]
    assert made.spec.replicas == 2
    assert [each.name for each in kites] == ["kr8s"]
    assert api.version()["major"] == "1"


def test_lightkube_creates_changes_and_deletes(kubeconfig: Path) -> None:
    config = lightkube.KubeConfig.from_file(str(kubeconfig))
    client = lightkube.Client(config=config, namespace="default", field_manager="lightkube")
    for at in range(5):
        meta = ObjectMeta(name=f"light-{at}", labels={"of": "lightkube"})
        client.create(ConfigMap(metadata=meta, data={"a": "1"}))
    # Pages of two: the client follows the continue tokens by itself.
    names = [each.metadata.name for each in client.list(ConfigMap, labels={"of": "lightkube"}, chunk_size=2)]
    patched = client.patch(ConfigMap, "light-0", {"data": {"b": "2"}}, patch_type=PatchType.MERGE)
    applied = client.apply(
        ConfigMap(apiVersion="v1", kind="ConfigMap", metadata=ObjectMeta(name="light-0"), data={"c": "3"})
    )
    listed = client.list(ConfigMap, labels={"of": "lightkube"})
    list(listed)
    for name in names:
        client.delete(ConfigMap, name)
    gone = []
    for kind, each in client.watch(
        ConfigMap, labels={"of": "lightkube"}, resource_version=listed.resourceVersion
    ):
        gone.append((kind, each.metadata.name))
        if len(gone) == 5:
            break
    with pytest.raises(ApiError) as missing:
        client.get(ConfigMap, "light-0")

    client.create(Deployment.from_dict(deployment("light")))
    scale = client.patch(Deployment.Scale, "light", {"spec": {"replicas": 3}})
    client.delete(Deployment, "light")
    kites = create_namespaced_resource("py.example.com", "v1", "Kite", "kites")
    kite = client.create(kites(metadata=ObjectMeta(name="light"), spec={"tail": 2}))
    client.delete(kites, "light")

    assert names == [f"light-{at}" for at in range(5)]
    assert patched.data == {"a": "1", "b": "2"}
    assert applied.data == {"a": "1", "b": "2", "c": "3"}
    assert sorted(gone) == [("DELETED", f"light-{at}") for at in range(5)]
    assert (missing.value.status.code, missing.value.status.reason) == (404, "NotFound")
    assert (scale.spec.replicas, kite.spec) == (3, {"tail": 2})
