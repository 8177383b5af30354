"""What tests of services ask, again and again: who answers where, and what the API says of a service."""

import json
import subprocess
from typing import Any

import pytest

from tests.cluster.pods import Place

HTTP: dict[str, Any] = {"name": "http", "port": 80, "targetPort": 8080}
UDP: dict[str, Any] = {"name": "udp", "port": 80, "targetPort": 8080, "protocol": "UDP"}
REFUSED = "error ConnectionRefusedError: [Errno 111] Connection refused"
SILENCE = "error TimeoutError: timed out"


def ip_of(net: Place, name: str) -> str:
    found: str = net.get("service", name)["spec"]["clusterIP"]
    return found


def node_port(net: Place, name: str, at: int = 0) -> int:
    found: int = net.get("service", name)["spec"]["ports"][at]["nodePort"]
    return found


def machine(net: Place, name: str) -> str:
    return next(str(one.address) for one in net.lab.cluster.machines if one.name == name)


def change(net: Place, name: str, **fields: Any) -> None:
    """A merge patch of a service: of its spec, or of ``labels``."""
    labels = fields.pop("labels", {})
    text = json.dumps({"metadata": {"labels": labels}, "spec": fields})
    net.kubectl("patch", "service", name, "--type=merge", f"--patch={text}")


def endpoints(net: Place, name: str) -> dict[str, set[int]]:
    """The ports of each pod that a service leads to, if Endpoints and EndpointSlices say the same."""
    told: dict[str, set[int]] = {}
    for subset in net.get("endpoints", name).get("subsets", []):
        for address in subset.get("addresses", []):
            told.setdefault(address["targetRef"]["name"], set()).update(
                one["port"] for one in subset["ports"]
            )
    sliced: dict[str, set[int]] = {}
    for part in net.get("endpointslices", "-l", f"kubernetes.io/service-name={name}")["items"]:
        for one in part.get("endpoints") or []:
            # A pod that has none of the service's named ports is in a slice without ports, and in no Endpoints.
            ports = {port["port"] for port in part["ports"] or []}
            if ports and one["conditions"]["ready"]:
                sliced.setdefault(one["targetRef"]["name"], set()).update(ports)
    assert told == sliced
    return told


def leads_to(net: Place, name: str, wanted: dict[str, set[int]]) -> None:
    net.lab.eventually(f"{name} leads to {wanted}", lambda: endpoints(net, name) == wanted)


def is_up(net: Place, where: str, wanted: set[str]) -> None:
    """Every server answers: pods and nodes."""
    for asker in ("asker-1", "node-asker-2"):
        net.answers(asker, wanted, "http", f"{where}/hostname", 20)


def is_down(net: Place, where: str, asker: str = "node-asker-1", why: str = "error") -> None:
    """Nobody answers any more, and the asker is told ``why``."""

    def found() -> bool:
        said = net.ask(asker, "http", f"{where}/hostname")
        assert all(line.startswith(why) for line in said), said
        return True

    net.lab.eventually(f"nobody answers at {where}", found)


def one_answers(net: Place, where: str, asker: str = "asker-1") -> None:
    """Sixteen questions, and always the same server."""

    def found() -> bool:
        said = set(net.ask(asker, "http", f"{where}/hostname", 16))
        assert len(said) == 1, said
        return not any(line.startswith("error") for line in said)

    net.lab.eventually(f"one server answers at {where}", found)


def refused(net: Place, wanted: str, made: dict[str, Any]) -> None:
    """The API says why it does not take an object."""
    with pytest.raises(subprocess.CalledProcessError, match=wanted):
        net.apply(made)
