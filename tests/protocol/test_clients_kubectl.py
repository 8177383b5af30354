"""kubectl of six versions, as a person types it, against one API server alone."""

import itertools
import json
from collections.abc import Callable, Iterator

import pytest

from tests.protocol.apiserver_bed import Lab, Program, Server
from tests.protocol.clients_bed import KUBECTLS, client

pytestmark = [pytest.mark.etcd, pytest.mark.kubectl]

WEB = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, labels: {app: web}}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
      - {name: web, image: "nginx:1", ports: [{containerPort: 80}]}
"""
NUMBERS = itertools.count()
LACKING = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: odd}\ndatta: {a: b}\n"


@pytest.fixture(scope="module")
def server(lab: Lab, free_ports: Callable[[], int]) -> Server:
    return lab.start(free_ports(), "--endpoint-reconciler-type=none")


@pytest.fixture(params=KUBECTLS)
def kubectl(
    request: pytest.FixtureRequest, lab: Lab, server: Server, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Program]:
    """One of the versions, with a namespace of its own that it takes for the usual one."""
    home = tmp_path_factory.mktemp("home")
    program = client(f"kubectl-{request.param}")
    namespace = f"with-{request.param.replace('.', '-')}-{next(NUMBERS)}"
    admin = Program((program,), lab.kubeconfig(server), home)
    admin("create", "namespace", namespace)
    admin("create", "serviceaccount", "default", "-n", namespace)
    yield Program((program, "-n", namespace), lab.kubeconfig(server), home)
    admin("delete", "namespace", namespace, "--wait=false")


def test_an_object_lives_from_creation_to_deletion(kubectl: Program) -> None:
    assert kubectl("apply", "-f", "-", stdin=WEB) == "deployment.apps/web created\n"
    assert kubectl("apply", "-f", "-", stdin=WEB) == "deployment.apps/web unchanged\n"
    assert kubectl("scale", "deployment", "web", "--replicas=3") == "deployment.apps/web scaled\n"
    assert kubectl("set", "image", "deployment/web", "web=nginx:2") == "deployment.apps/web image updated\n"
    rows = kubectl("get", "deployment", "-o", "wide").splitlines()
    assert rows[0].split() == [
        "NAME", "READY", "UP-TO-DATE", "AVAILABLE", "AGE", "CONTAINERS", "IMAGES", "SELECTOR",
    ]  # fmt: skip
    assert rows[1].split()[:2] == ["web", "0/3"]
    assert rows[1].split()[-2:] == ["nginx:2", "app=web"]
    assert kubectl("delete", "deployment", "web").startswith('deployment.apps "web" deleted')
    assert "No resources found" in kubectl("get", "deployments")


def test_fields_are_changed_in_every_way(kubectl: Program) -> None:
    kubectl("create", "configmap", "c", "--from-literal=a=1")
    kubectl("label", "configmap", "c", "tier=front")
    kubectl("annotate", "configmap", "c", "note=x")
    kubectl("patch", "configmap", "c", "-p", '{"data":{"b":"2"}}')
    kubectl("patch", "configmap", "c", "--type=merge", "-p", '{"data":{"a":null}}')
    kubectl("patch", "configmap", "c", "--type=json", "-p", '[{"op":"add","path":"/data/d","value":"4"}]')
    found = json.loads(kubectl("get", "configmap", "c", "-o", "json"))

    assert found["data"] == {"b": "2", "d": "4"}
    assert (found["metadata"]["labels"], found["metadata"]["annotations"]) == (
        {"tier": "front"},
        {"note": "x"},
    )
    found["data"] = {"only": "this"}
    assert kubectl("replace", "-f", "-", stdin=json.dumps(found)) == "configmap/c replaced\n"
    assert kubectl("get", "configmap", "c", "-o", "jsonpath={.data}") == '{"only":"this"}'
    assert "Conflict" in kubectl("replace", "-f", "-", stdin=json.dumps(found), code=1)


def test_who_applies_on_the_server_is_told_of_conflicts(kubectl: Program) -> None:
    kubectl("apply", "--server-side", "-f", "-", stdin=WEB)
    kubectl("scale", "deployment", "web", "--replicas=5")
    said = kubectl("apply", "--server-side", "-f", "-", stdin=WEB, code=1)

    assert "conflict" in said
    assert ".spec.replicas" in said
    kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=WEB)
    assert kubectl("get", "deployment", "web", "-o", "jsonpath={.spec.replicas}") == "2"
    assert kubectl("diff", "--server-side", "--force-conflicts", "-f", "-", stdin=WEB) == ""
    changed = kubectl("diff", "-f", "-", stdin=WEB.replace("replicas: 2", "replicas: 7"), code=1)
    assert "+  replicas: 7" in changed


def test_mistakes_are_told(kubectl: Program) -> None:
    assert 'unknown field "datta"' in kubectl("create", "-f", "-", stdin=LACKING, code=1)
    assert kubectl("create", "--validate=ignore", "-f", "-", stdin=LACKING) == "configmap/odd created\n"
    assert "already exists" in kubectl("create", "configmap", "odd", code=1)
    assert 'deployments.apps "none" not found' in kubectl("get", "deployment", "none", code=1)
    assert "doesn't have a resource type" in kubectl("get", "gadgets", code=1)
    said = kubectl("create", "service", "clusterip", "Wrong_Name", "--tcp=80", code=1)
    assert "metadata.name: Invalid value" in said


def test_the_server_says_what_it_knows(kubectl: Program) -> None:
    assert "deployments" in kubectl("api-resources", "--api-group=apps", "-o", "name")
    assert "autoscaling/v2" in kubectl("api-versions")
    assert "FIELDS:" in kubectl("explain", "deployment.spec.strategy")
    assert "Server Version: v1.36" in kubectl("version")
    assert kubectl("auth", "can-i", "create", "pods") == "yes\n"
    assert kubectl("auth", "can-i", "list", "secrets", "--as=nobody", code=1).startswith("no")
    assert "kubernetes-admin" in kubectl("auth", "whoami") or "system:masters" in kubectl("auth", "whoami")
    assert kubectl("create", "token", "default").count(".") == 2
    assert kubectl("get", "--raw", "/readyz") == "ok"


def test_services_and_waiting(kubectl: Program) -> None:
    kubectl("apply", "-f", "-", stdin=WEB)
    assert kubectl("expose", "deployment", "web", "--port=80", "--type=NodePort") == "service/web exposed\n"
    shown = kubectl("describe", "service", "web")
    assert {"Type:", "NodePort", "app=web"} <= set(shown.split())
    assert "condition met" in kubectl(
        "wait", "deployment/web", "--for=jsonpath={.spec.replicas}=2", "--timeout=5s"
    )
    assert "timed out" in kubectl(
        "wait", "deployment/web", "--for=condition=Available", "--timeout=1s", code=1
    )
    assert "Namespace:" in kubectl("describe", "deployment", "web")
    assert "service/web" in kubectl("get", "all")
    assert "deleted" in kubectl("delete", "all", "--all")
