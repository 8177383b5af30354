"""Hints that a service's trafficDistribution gives endpoints."""

import pytest

from kybern.loop.hints import hints_of


@pytest.mark.parametrize(
    ("distribution", "ready", "zone", "node", "expected"),
    [
        pytest.param("PreferSameZone", True, "z1", "n1", (["z1"], []), id="zone"),
        pytest.param("PreferClose", True, "z1", "n1", (["z1"], []), id="old-name"),
        pytest.param("PreferSameNode", True, "z1", "n1", (["z1"], ["n1"]), id="node"),
        pytest.param("PreferSameNode", True, "", "n1", ([], ["n1"]), id="node-without-zone"),
        pytest.param("PreferSameNode", True, "z1", "", (["z1"], []), id="no-node"),
        pytest.param("PreferSameZone", True, "", "n1", None, id="zone-unknown"),
        pytest.param("PreferSameNode", False, "z1", "n1", None, id="not-ready"),
        pytest.param("", True, "z1", "n1", None, id="nothing-asked"),
        pytest.param("Other", True, "z1", "n1", None, id="unknown-wish"),
    ],
)
def test_hints(
    distribution: str, ready: bool, zone: str, node: str, expected: tuple[list[str], list[str]] | None
) -> None:
    """Zones and nodes that an endpoint is meant for."""
    found = hints_of(distribution, ready=ready, zone=zone, node=node)
    shown = found and ([one.name for one in found.for_zones], [one.name for one in found.for_nodes])
    assert shown == expected
