"""Families of IP: what a Service has that does not say, and what a cluster cannot give."""

from typing import Any

import pytest

from kybern.apiserver.services.families import settle

FOUR, SIX = "10.96.0.5", "fd00:96::5"
SINGLE, DUAL = ["IPv4"], ["IPv4", "IPv6"]
OF_BOTH = "must be 'RequireDualStack' or 'PreferDualStack' when multiple"


@pytest.mark.parametrize(
    ("spec", "known", "policy", "families"),
    [
        pytest.param({}, DUAL, "SingleStack", ["IPv4"], id="nothing-said"),
        pytest.param({}, ["IPv6", "IPv4"], "SingleStack", ["IPv6"], id="the-cluster-s-first"),
        pytest.param({"clusterIPs": [SIX]}, DUAL, "SingleStack", ["IPv6"], id="by-its-address"),
        pytest.param({"ipFamilyPolicy": "PreferDualStack"}, SINGLE, "PreferDualStack", ["IPv4"], id="either"),
        pytest.param(
            {"ipFamilyPolicy": "PreferDualStack", "ipFamilies": ["IPv6"]},
            DUAL,
            "PreferDualStack",
            ["IPv6", "IPv4"],
            id="the-other-second",
        ),
        pytest.param({"clusterIPs": ["None"], "selector": {"a": "b"}}, DUAL, "SingleStack", ["IPv4"], id="headless"),
        pytest.param({"clusterIPs": ["None"]}, SINGLE, "RequireDualStack", ["IPv4", "IPv6"], id="free"),
        pytest.param(
            {"clusterIPs": ["None"], "ipFamilyPolicy": "SingleStack", "ipFamilies": ["IPv6"]},
            SINGLE,
            "SingleStack",
            ["IPv6"],
            id="free-of-a-family-that-the-cluster-has-not",
        ),
    ],
)  # fmt: skip
def test_what_is_not_said_follows_from_the_cluster(
    spec: dict[str, Any], known: list[str], policy: str, families: list[str]
) -> None:
    made = {"type": "ClusterIP", **spec}

    assert settle(made, None, known) == []
    assert (made["ipFamilyPolicy"], made["ipFamilies"]) == (policy, families)


@pytest.mark.parametrize(
    ("spec", "known", "wanted"),
    [
        (
            {"ipFamilies": DUAL},
            DUAL,
            [("spec.ipFamilyPolicy", f'"SingleStack": {OF_BOTH} IP families are specified')],
        ),
        (
            {"clusterIPs": [FOUR, SIX]},
            DUAL,
            [("spec.ipFamilyPolicy", f'"SingleStack": {OF_BOTH} cluster IPs are specified')],
        ),
        (
            {"clusterIPs": [SIX]},
            SINGLE,
            [("spec.clusterIPs[0]", f'["{SIX}"]: IPv6 is not configured on this cluster')],
        ),
        (
            {"ipFamilies": ["IPv6"]},
            SINGLE,
            [("spec.ipFamilies[0]", '"IPv6": not configured on this cluster')],
        ),
        (
            {"ipFamilyPolicy": "RequireDualStack"},
            SINGLE,
            [
                (
                    "spec.ipFamilyPolicy",
                    '"RequireDualStack": this cluster is not configured for dual-stack services',
                )
            ],
        ),
    ],
)
def test_what_the_cluster_has_not_is_refused(
    spec: dict[str, Any], known: list[str], wanted: list[tuple[str, str]]
) -> None:
    found = settle({"type": "ClusterIP", **spec}, None, known)

    assert [(one.field, one.message.removeprefix("Invalid value: ")) for one in found] == wanted


def test_a_service_of_either_way_stays_as_it_is_when_the_cluster_grows() -> None:
    old = {
        "type": "ClusterIP",
        "ipFamilyPolicy": "PreferDualStack",
        "ipFamilies": ["IPv4"],
        "clusterIPs": [FOUR],
    }
    same, asks = {**old, "ports": [{"port": 81}]}, {**old, "ipFamilyPolicy": "RequireDualStack"}

    assert (settle(same, old, DUAL), settle(asks, old, DUAL)) == ([], [])
    assert (same["ipFamilies"], asks["ipFamilies"]) == (["IPv4"], DUAL)


def test_an_alias_that_becomes_a_service_gets_families_and_the_other_way_none() -> None:
    alias: dict[str, Any] = {"type": "ExternalName", "externalName": "a.b"}
    made: dict[str, Any] = {"type": "ClusterIP"}

    assert (settle(made, alias, DUAL), settle(alias, {**made}, DUAL)) == ([], [])
    assert made["ipFamilies"] == ["IPv4"]
    assert "ipFamilies" not in alias
