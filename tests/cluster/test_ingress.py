"""Ingress as a client outside of the cluster sees it, at the workers' ports 80 and 443."""

import http.client
import json
from functools import partial

import pytest

from tests.cluster.conftest import Lab
from tests.cluster.pods import Place, server, service

WORKERS = ("worker-1", "worker-2")
HOST = "shop.example.com"


@pytest.fixture
def place(lab: Lab, namespace: str) -> Place:
    made = Place.made(lab, namespace)
    made.run(*(server(f"web-{at}", name, labels={"app": "web"}) for at, name in enumerate(WORKERS)))
    made.apply(service("web", {"port": 80, "targetPort": 8080}, selector={"app": "web"}))
    return made


def ingress(name: str, to: str, host: str = HOST) -> dict[str, object]:
    backend = {"service": {"name": to, "port": {"number": 80}}}
    paths = [{"path": "/", "pathType": "Prefix", "backend": backend}]
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "Ingress",
        "metadata": {"name": name},
        "spec": {"ingressClassName": "kybern", "rules": [{"host": host, "http": {"paths": paths}}]},
    }


def addresses(lab: Lab) -> list[str]:
    return [str(machine.address) for machine in lab.cluster.workers]


def fetch(address: str, host: str = HOST) -> tuple[int, str]:
    line = http.client.HTTPConnection(address, 80, timeout=3)
    try:
        line.request("GET", "/hostname", headers={"Host": host})
        answer = line.getresponse()
        return answer.status, answer.read().decode().strip()
    except OSError:
        return 0, ""
    finally:
        line.close()


def answers(address: str) -> bool:
    return fetch(address)[0] == 200


def test_every_worker_leads_to_every_pod_and_the_status_names_the_workers(lab: Lab, place: Place) -> None:
    place.apply(ingress("web", "web"))

    for address in addresses(lab):
        lab.eventually("it answers", partial(answers, address), seconds=30)
        assert {fetch(address)[1] for _ in range(6)} == {"web-0", "web-1"}
        assert fetch(address, "unknown.example.com")[0] == 404
    assert place.get("ingress", "web")["status"]["loadBalancer"]["ingress"] == [
        {"ip": one} for one in sorted(addresses(lab))
    ]


def test_what_is_wrong_is_told_and_mended_as_soon_as_it_is_right(lab: Lab, place: Place) -> None:
    place.apply(ingress("web", "later"))

    def told() -> list[str]:
        return [one["reason"] for one in place.get("events")["items"]]

    lab.eventually("an event", lambda: "MissingService" in told(), seconds=30)
    assert fetch(addresses(lab)[0])[0] == 503

    place.apply(service("later", {"port": 80, "targetPort": 8080}, selector={"app": "web"}))

    lab.eventually("it answers", partial(answers, addresses(lab)[0]), seconds=30)


def test_a_pod_that_goes_fails_no_request(lab: Lab, place: Place) -> None:
    place.apply(ingress("web", "web"))
    address = addresses(lab)[0]
    lab.eventually("it answers", partial(answers, address), seconds=30)

    place.kubectl("delete", "pod", "web-1", "--wait=false")

    seen = [fetch(address) for _ in range(100)]
    assert {status for status, _ in seen} == {200}, json.dumps(seen)
