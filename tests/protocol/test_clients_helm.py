"""helm, the program: a release from install to uninstall, with definitions, hooks and a look at the cluster."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.protocol.apiserver_bed import Lab, Program, Server
from tests.protocol.clients_bed import client

pytestmark = pytest.mark.etcd
CHART = str(Path(__file__).parents[1] / "data/chart")
CONFIG_MAPS = "/api/v1/namespaces/default/configmaps"


@pytest.fixture(scope="module")
def server(lab: Lab, free_ports: Callable[[], int]) -> Server:
    return lab.start(free_ports(), "--endpoint-reconciler-type=none")


@pytest.fixture(scope="module")
def helm(lab: Lab, server: Server, tmp_path_factory: pytest.TempPathFactory) -> Program:
    return Program((client("helm"),), lab.kubeconfig(server), tmp_path_factory.mktemp("home"))


def data(server: Server, name: str) -> dict[str, str] | int:
    status, found = server.ask("GET", f"{CONFIG_MAPS}/{name}")
    return dict(found["data"]) if status == 200 else status


def test_a_release_lives_from_install_to_uninstall(helm: Program, server: Server) -> None:
    settings = {"metadata": {"name": "settings"}, "data": {"town": "Ghent"}}
    assert server.ask("POST", CONFIG_MAPS, settings)[0] == 201
    deployment = "/apis/apps/v1/namespaces/default/deployments/one"
    toy = "/apis/shop.example.com/v1/namespaces/default/toys/one"

    def colour_and_size() -> tuple[str, int]:
        return server.ask("GET", toy)[1]["spec"]["colour"], server.ask("GET", deployment)[1]["spec"][
            "replicas"
        ]

    assert "STATUS: deployed" in helm("install", "one", CHART)
    assert colour_and_size() == ("green", 1)
    seen = data(server, "one-seen")
    assert isinstance(seen, dict)
    assert (seen["town"], seen["autoscaling"], seen["version"].startswith("v1.36.")) == (
        "Ghent",
        "true",
        True,
    )
    assert data(server, "one-pre-install") == {"revision": "1"}
    assert (data(server, "one-post-upgrade"), data(server, "one-passing")) == (404, 404)
    address = server.ask("GET", "/api/v1/namespaces/default/services/one")[1]["spec"]["clusterIP"]

    helm("upgrade", "one", CHART, "--set", "colour=red,replicas=4")
    assert colour_and_size() == ("red", 4)
    assert data(server, "one-post-upgrade") == {"revision": "2"}
    assert server.ask("GET", "/api/v1/namespaces/default/services/one")[1]["spec"]["clusterIP"] == address

    helm("rollback", "one", "1")
    assert colour_and_size() == ("green", 1)
    assert data(server, "one-post-rollback") == {"revision": "1"}
    history = json.loads(helm("history", "one", "-o", "json"))
    assert [entry["revision"] for entry in history] == [1, 2, 3]
    assert [entry["status"] for entry in history] == ["superseded", "superseded", "deployed"]

    assert "Succeeded" in helm("test", "one")
    assert data(server, "one-test") == {"revision": "1"}
    helm("uninstall", "one")
    assert (server.ask("GET", deployment)[0], server.ask("GET", toy)[0]) == (404, 404)
    assert json.loads(helm("list", "-o", "json")) == []
    # A chart's definitions stay, as helm documents.
    crds = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
    assert server.ask("DELETE", f"{crds}/toys.shop.example.com")[0] == 200


def test_a_release_that_the_server_refuses_fails(helm: Program, server: Server) -> None:
    said = helm("install", "two", CHART, "--set", "replicas=-1", code=1)

    assert "spec.replicas: Invalid value: -1: must be greater than or equal to 0" in said
    assert json.loads(helm("status", "two", "-o", "json"))["info"]["status"] == "failed"
    helm("uninstall", "two")
