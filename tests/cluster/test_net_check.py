"""``kybern net check`` on the lab: all well, and then a fault that it has to name."""

import json
import subprocess
from typing import Any

from tests.cluster.conftest import TOPOLOGY, Lab


def checked(lab: Lab) -> tuple[int, dict[str, Any]]:
    done: subprocess.CompletedProcess[str] = lab.kybern(
        "net", "check", TOPOLOGY, "-o", "json", check=False, seconds=300
    )
    assert done.stdout, done.stderr[-3000:]
    report: dict[str, Any] = json.loads(done.stdout)
    return done.returncode, report


def left(lab: Lab) -> str:
    return lab.kubectl(
        "get", "namespaces", "-l", "kybern.io/reach", "-o", "name", "--field-selector", "status.phase=Active"
    )


def test_everybody_reaches_everybody_and_nothing_is_left(lab: Lab) -> None:
    code, report = checked(lab)

    assert code == 0, [one for one in report["ways"] if not one["ok"]]
    nodes = [one.name for one in lab.cluster.machines if one.is_node]
    families = 2 if lab.cluster.ipv6 else 1
    assert len(report["ways"]) == len(nodes) ** 2 * 4 * families + len(nodes)
    assert not left(lab)


def test_a_chain_that_drops_is_named(lab: Lab) -> None:
    """Packets from one node's pods to those of the other, dropped where they would be passed on."""
    pods = lab.get("node", "worker-2")["spec"]["podCIDR"]
    rule = f"FORWARD -d {pods} -m comment --comment net-check-test -j DROP"
    lab.ssh("worker-1", f"iptables -w 10 -I {rule}")
    try:
        code, report = checked(lab)
    finally:
        lab.ssh("worker-1", f"iptables -w 10 -D {rule}")

    assert code == 1
    failed = {(one["way"], one["from"], one["to"]): one for one in report["ways"] if not one["ok"]}
    assert {one["family"] for one in failed.values()} == {"IPv4"}, "the rule is of iptables"
    assert {way for way, source, target in failed if (source, target) == ("worker-1", "worker-2")} == {
        "pod",
        "service",
        "name",
    }
    first = failed["pod", "worker-1", "worker-2"]["findings"][0]
    assert (first["hop"], first["node"]) == ("firewall", "worker-1"), first
    assert "net-check-test" in first["text"]
    assert not left(lab)
