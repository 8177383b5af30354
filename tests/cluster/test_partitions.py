"""A master that nobody reaches for some seconds, by the lab's own bridge: it comes back clean before it is marked down.

Its line is taken out of the bridge: all its frames are lost, and it stays up. What has a connection to it waits
meanwhile, and none of it may have missed anything afterwards. Another test of parts that cannot reach each other is in
``test_traffic``: a node without the masters.
"""

import json
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import pytest

from tests.cluster.conftest import Lab
from tests.cluster.pods import Place, server, service
from tests.cluster.test_days_after import asking
from tests.cluster.test_failures import holder

UNITS = "etcd kube-apiserver kubelet containerd kube-proxy haproxy keepalived kybern-pod-network kybern-dns"
# Seconds after the end of a cut in which every node has what was changed meanwhile. A cut of more than the ten in which
# a leader must renew may end the leader: its successor waits until the lease of 15 is over if nobody gave it back.
FOLLOWS = {6: 20, 11: 40}


@pytest.fixture
def place(lab: Lab, namespace: str) -> Place:
    made = Place.made(lab, namespace)
    made.run(*(server(f"on-{node}", node, labels={"app": "x"}) for node in ("worker-1", "worker-2")))
    return made


def port_of(lab: Lab, machine: str) -> tuple[str, str]:
    """The machine's port of the lab's bridge, which is where its hardware address was seen, and the bridge."""
    outside = f"ip route get {lab.cluster.gateway} | grep -o 'dev [^ ]*' | cut -c5-"
    told = lab.ssh(machine, f"cat /sys/class/net/$({outside})/address")
    shown = subprocess.run(
        ["bridge", "-j", "fdb", "show"], check=True, capture_output=True, text=True, timeout=10
    )
    learned = (one for one in json.loads(shown.stdout) if one["mac"] == told.strip() and "master" in one)
    ((port, bridge),) = {(one["ifname"], one["master"]) for one in learned}
    return port, bridge


@contextmanager
def cut_off(lab: Lab, machine: str, seconds: int) -> Iterator[None]:
    """From everybody, for so long from now, whatever the block does; it ends with the cut or later."""
    port, bridge = port_of(lab, machine)
    words = f"ip link set dev {port} nomaster && sleep {seconds}; ip link set dev {port} master {bridge}"
    cut = subprocess.Popen(["sh", "-c", words])
    address = next(str(one.address) for one in lab.cluster.machines if one.name == machine)
    try:
        time.sleep(0.3)
        assert not _is_reached(address), "the cut is none"
        yield
    finally:
        assert cut.wait(seconds + 10) == 0


def _is_reached(address: str) -> bool:
    try:
        socket.create_connection((address, 22), timeout=1).close()
    except OSError:
        return False
    return True


def daemons(lab: Lab) -> dict[str, str]:
    """What tells a daemon that runs on from one that was started anew, by machine."""
    ask = f"systemctl show -p Id -p MainPID -p NRestarts {UNITS}"
    return {machine.name: lab.ssh(machine.name, ask) for machine in lab.cluster.machines}


def started(place: Place) -> dict[str, tuple[str, int]]:
    return {
        pod["metadata"]["name"]: (
            pod["metadata"]["uid"],
            pod["status"]["containerStatuses"][0]["restartCount"],
        )
        for pod in place.get("pods")["items"]
    }


def applied(place: Place, made: dict[str, Any]) -> bool:
    place.apply(made)
    return True


@pytest.mark.parametrize("seconds", [6, 11])
def test_a_master_that_nobody_reaches_for_some_seconds_comes_back_clean(
    lab: Lab, place: Place, seconds: int
) -> None:
    """One without the virtual address. A service that is made meanwhile is there for every node soon after."""
    victim = next(one.name for one in lab.cluster.masters if one.name != holder(lab))
    running, pods = daemons(lab), started(place)

    with asking(lab) as asked:
        with cut_off(lab, victim, seconds):
            made = service("meanwhile", {"port": 80, "targetPort": 8080}, selector={"app": "x"})
            lab.eventually("a service is made", partial(applied, place, made))
        ended = time.monotonic()
        found = lab.eventually("it is there", lambda: place.get("service", "meanwhile"))
        ask = f"curl -fsS --max-time 1 http://{found['spec']['clusterIP']}/hostname"
        took = {}
        for machine in lab.cluster.machines:
            lab.eventually(f"{machine.name} leads to it", partial(lab.ssh, machine.name, ask), seconds=60)
            took[machine.name] = round(time.monotonic() - ended, 1)
        fresh = [server(f"fresh-{node}", node) for node in ("worker-1", "worker-2")]
        place.run(*fresh)
        took["new pods"] = round(time.monotonic() - ended, 1)
    health = "curl -fsS --max-time 3 http://127.0.0.1:2381/health"
    lab.eventually("etcd is whole", lambda: '"health":"true"' in lab.ssh(victim, health))

    print(f"{victim} was away for {seconds} s; seconds after that: {took}; {asked}")  # noqa: T201
    assert max(took[machine.name] for machine in lab.cluster.machines) < FOLLOWS[seconds]
    assert asked.longest < 10, "the API was silent"
    assert len(lab.nodes_ready()) == 5
    assert daemons(lab) == running
    assert {name: seen for name, seen in started(place).items() if name in pods} == pods
