"""Services: what may be said of their addresses and traffic, and what becomes of it when they change."""

import copy
from typing import Any

import pytest

from kybern.api.core_v1.service import KIND

FOUR, SIX = "10.96.0.5", "fd00:96::5"
ONE: dict[str, Any] = {"clusterIPs": [FOUR], "ipFamilies": ["IPv4"], "ipFamilyPolicy": "SingleStack"}
BOTH: dict[str, Any] = {
    "clusterIPs": [FOUR, SIX],
    "ipFamilies": ["IPv4", "IPv6"],
    "ipFamilyPolicy": "RequireDualStack",
}
NONE: dict[str, Any] = {**ONE, "clusterIPs": ["None"]}
KEPT = "may not change once set"
AT_POLICY, POLICY = "spec.ipFamilyPolicy", "must be 'SingleStack' to release the secondary"


def whole(annotations: dict[str, str] | None = None, **spec: Any) -> dict[str, Any]:
    port = {"port": 80, "protocol": "TCP", "targetPort": 80}
    found = {"type": "ClusterIP", "ports": [port], "sessionAffinity": "None", **spec}
    if found.get("clusterIPs") and "clusterIP" not in found:
        found["clusterIP"] = found["clusterIPs"][0]
    return {"metadata": {"name": "a", "annotations": annotations or {}}, "spec": found}


def told(new: dict[str, Any], old: dict[str, Any] | None = None) -> list[tuple[str, str]]:
    """What is wrong: fields, and what is said of them after their values."""
    return [(one.field, one.message.rpartition(": ")[2]) for one in KIND.rules.validate(new, old)]


@pytest.mark.parametrize(
    ("old", "new", "wanted"),
    [
        pytest.param(ONE, {}, [], id="nothing"),
        pytest.param(ONE, BOTH, [], id="a-second"),
        pytest.param(BOTH, ONE, [], id="the-second-gone"),
        pytest.param(NONE, {"ipFamilies": ["IPv6"]}, [], id="headless"),
        pytest.param(ONE, {"clusterIPs": ["10.96.0.6"]}, [("spec.clusterIPs[0]", KEPT)], id="first"),
        pytest.param(ONE, {"clusterIPs": ["None"]}, [("spec.clusterIPs[0]", KEPT)], id="to-headless"),
        pytest.param(
            ONE,
            {"clusterIPs": []},
            [("spec.clusterIPs[0]", "primary clusterIP can not be unset")],
            id="unset",
        ),
        pytest.param(BOTH, {"clusterIPs": [FOUR, "fd00:96::6"]}, [("spec.clusterIPs[1]", KEPT)], id="second"),
        pytest.param(
            ONE,
            {"ipFamilies": ["IPv6"]},
            [("spec.clusterIPs[0]", "expected an IPv6 value as indicated by `ipFamilies[0]`")],
            id="family",
        ),
        pytest.param(BOTH, {"ipFamilies": []}, [], id="the-families-unsaid"),
        pytest.param(BOTH, {"ipFamilies": ["IPv4"]}, [(AT_POLICY, f"{POLICY} IP family")], id="one-family"),
        pytest.param(BOTH, {"clusterIPs": [FOUR]}, [(AT_POLICY, f"{POLICY} cluster IP")], id="one-address"),
        pytest.param(
            {**ONE, "type": "LoadBalancer", "loadBalancerClass": "a/b", "externalTrafficPolicy": "Cluster"},
            {"loadBalancerClass": "a/c"},
            [("spec.loadBalancerClass", KEPT)],
            id="class",
        ),
        pytest.param(
            {**ONE, "type": "LoadBalancer", "externalTrafficPolicy": "Cluster"},
            {"loadBalancerClass": "a/c"},
            [("spec.loadBalancerClass", KEPT)],
            id="class-where-there-was-none",
        ),
        pytest.param(
            {**ONE, "type": "NodePort", "externalTrafficPolicy": "Cluster"},
            {"type": "LoadBalancer", "loadBalancerClass": "a/c"},
            [],
            id="class-of-a-new-balancer",
        ),
        pytest.param(
            {**ONE, "type": "LoadBalancer", "externalTrafficPolicy": "Local", "healthCheckNodePort": 30001},
            {"healthCheckNodePort": 30002},
            [("spec.healthCheckNodePort", "field is immutable")],
            id="health-port",
        ),
    ],
)
def test_addresses_families_the_balancer_s_class_and_health_port_stay(
    old: dict[str, Any], new: dict[str, Any], wanted: list[tuple[str, str]]
) -> None:
    was = whole(**old)
    now = whole(**{**old, **new})
    if new.get("clusterIPs") == []:
        del now["spec"]["clusterIPs"]

    assert told(now, was) == wanted


FOR_BALANCERS = "may only be used when `type` is 'LoadBalancer'"
BALANCER: dict[str, Any] = {"type": "LoadBalancer", "externalTrafficPolicy": "Cluster"}
RANGES = "service.beta.kubernetes.io/load-balancer-source-ranges"
MODE, OLD_MODE = "service.kubernetes.io/topology-mode", "service.kubernetes.io/topology-aware-hints"
CIDR = "(e.g. 10.9.8.0/24 or 2001:db8::/64)"
PLACE = "must be a valid CIDR value, "


@pytest.mark.parametrize(
    ("new", "wanted"),
    [
        pytest.param(
            whole(clusterIP=FOUR, clusterIPs=["10.96.0.6"]),
            [("spec.clusterIPs", "first value must match `clusterIP`")],
            id="two-words",
        ),
        pytest.param(
            whole(clusterIP="", clusterIPs=[FOUR]),
            [("spec.clusterIPs", "must be empty when `clusterIP` is not specified")],
            id="list-alone",
        ),
        pytest.param(
            whole(clusterIPs=["None", FOUR], selector={"a": "b"}),
            [("spec.clusterIPs", "'None' must be the first and only value")],
            id="headless-and-not",
        ),
        pytest.param(
            whole(clusterIPs=[FOUR, "10.96.0.6"]),
            [("spec.clusterIPs", "may specify no more than one IP for each IP family")],
            id="twice-one-family",
        ),
        pytest.param(
            whole(clusterIPs=[FOUR, SIX, "fd00:96::6"]),
            [("spec.clusterIPs", "may only hold up to 2 values")],
            id="three",
        ),
        pytest.param(
            whole(externalIPs=["127.0.0.1", "0.0.0.0", "239.1.1.1"], externalTrafficPolicy="Cluster"),
            [
                ("spec.externalIPs[0]", "may not be in the loopback range (127.0.0.0/8, ::1/128)"),
                ("spec.externalIPs[1]", "may not be unspecified (0.0.0.0)"),
            ],
            id="external",
        ),
        pytest.param(
            whole(healthCheckNodePort=30001),
            [
                (
                    "spec.healthCheckNodePort",
                    "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'",
                )
            ],
            id="health-port",
        ),
        pytest.param(
            whole(
                sessionAffinity="ClientIP",
                sessionAffinityConfig={"clientIP": {"timeoutSeconds": 86401}},
            ),
            [
                (
                    "spec.sessionAffinityConfig.clientIP.timeoutSeconds",
                    "must be greater than 0 and less than 86400",
                )
            ],
            id="affinity",
        ),
        pytest.param(
            whole(loadBalancerSourceRanges=["10.0.0.0/8"]),
            [("spec.LoadBalancerSourceRanges", FOR_BALANCERS)],
            id="ranges-of-no-balancer",
        ),
        pytest.param(
            whole(loadBalancerSourceRanges=["10.1.0.0/8", " 10.0.0.0/8 ", "10.0.0.0/08"], **BALANCER),
            [
                ("spec.LoadBalancerSourceRanges[0]", "must not have bits set beyond the prefix length"),
                ("spec.LoadBalancerSourceRanges[2]", "must not have leading 0s in IP or prefix length"),
            ],
            id="ranges",
        ),
        pytest.param(
            whole(externalIPs=["::ffff:192.0.2.1"], externalTrafficPolicy="Cluster"),
            [("spec.externalIPs[0]", "must not be an IPv4-mapped IPv6 address")],
            id="mapped",
        ),
        pytest.param(
            whole({RANGES: "10.0.0.0/8, nowhere"}, **BALANCER),
            [(f"metadata.annotations[{RANGES}]", f"{PLACE}{CIDR}")],
            id="ranges-by-annotation",
        ),
        pytest.param(
            whole({MODE: "Auto", OLD_MODE: "auto"}),
            [
                (
                    f"metadata.annotations[{MODE}]",
                    f"must match annotations[{OLD_MODE}] when both are specified",
                )
            ],
            id="two-modes",
        ),
    ],
)
def test_a_service_that_contradicts_itself_is_refused(
    new: dict[str, Any], wanted: list[tuple[str, str]]
) -> None:
    assert told(new) == wanted


@pytest.mark.parametrize(
    "there",
    [whole({RANGES: "nowhere"}, **BALANCER), whole(loadBalancerSourceRanges=["10.1.0.0/8"], **BALANCER)],
)
def test_ranges_that_were_let_in_once_are_let_in_again(there: dict[str, Any]) -> None:
    assert told(there, there) == []


@pytest.mark.parametrize(
    ("new", "wanted"),
    [
        (whole(), []),
        (whole({OLD_MODE: "auto"}), [f"annotation {OLD_MODE} is deprecated, please use {MODE} instead"]),
        (
            whole(clusterIPs=["None"], externalIPs=[FOUR], sessionAffinity="ClientIP"),
            [
                "spec.externalIPs is ignored for headless services",
                "spec.SessionAffinity is ignored for headless services",
            ],
        ),
        (
            whole(externalIPs=["2001:DB8::1"], externalName="a.b"),
            [
                'spec.externalIPs[0]: IPv6 address "2001:DB8::1" should be in RFC 5952 canonical format ("2001:db8::1")',
                'spec.externalName is ignored when spec.type is not "ExternalName"',
            ],
        ),
        (
            whole(type="ExternalName", externalName="a.b", externalIPs=[FOUR]),
            ['spec.externalIPs is ignored when spec.type is "ExternalName"'],
        ),
        (
            whole(trafficDistribution="PreferClose"),
            ['spec.trafficDistribution: "PreferClose" is deprecated; use "PreferSameZone"'],
        ),
    ],
)
def test_what_has_no_effect_is_told(new: dict[str, Any], wanted: list[str]) -> None:
    assert list(KIND.rules.warnings(new, None)) == wanted


@pytest.mark.parametrize(
    ("kind", "ingress", "wanted"),
    [
        ("ClusterIP", {"ip": FOUR, "ipMode": "VIP"}, [("", "may only be used when `spec.type` is 'LoadBalancer'")]),
        ("LoadBalancer", {"ip": FOUR, "ipMode": "VIP"}, []),
        ("LoadBalancer", {"ip": FOUR}, [("[0].ipMode", "must be specified when `ip` is set")]),
        (
            "LoadBalancer",
            {"hostname": "a.b", "ipMode": "VIP"},
            [("[0].ipMode", "may not be specified when `ip` is not set")],
        ),
        ("LoadBalancer", {"ip": FOUR, "ipMode": "Near"}, [("[0].ipMode", '"Proxy", "VIP"')]),
        ("LoadBalancer", {"hostname": FOUR}, [("[0].hostname", "must be a DNS name, not an IP address")]),
    ],
)  # fmt: skip
def test_the_status_of_a_balancer_names_places(
    kind: str, ingress: dict[str, Any], wanted: list[tuple[str, str]]
) -> None:
    raw = {"spec": {"type": kind}, "status": {"loadBalancer": {"ingress": [ingress]}}}
    found = [(one.field, one.message.rpartition(": ")[2]) for one in KIND.rules.validate_status(raw, None)]

    assert found == [(f"status.loadBalancer.ingress{at}", why) for at, why in wanted]


def changed(old: dict[str, Any], **spec: Any) -> dict[str, Any]:
    """A Service as it is stored when a client writes a spec over an old one."""
    new = {**copy.deepcopy(old), "spec": spec}
    KIND.rules.on_update(new, old)
    return new


def port(name: str, number: int, node_port: int = 0, protocol: str = "TCP") -> dict[str, Any]:
    return {
        "name": name,
        "port": number,
        "targetPort": number,
        "protocol": protocol,
        **({"nodePort": node_port} if node_port else {}),
    }


def test_node_ports_stay_with_the_names_of_their_ports() -> None:
    old = whole(type="NodePort", ports=[port("http", 80, 30080), port("more", 81, 30081)])

    new = changed(
        old, type="NodePort", ports=[port("http", 8080), port("more", 82, 30080), port("third", 81)]
    )

    # 30080 has been given to another port, and nobody knows the third.
    assert [one.get("nodePort") for one in new["spec"]["ports"]] == [None, 30080, None]
    again = changed(old, type="NodePort", ports=[port("more", 9), port("http", 8080)])
    assert [one.get("nodePort") for one in again["spec"]["ports"]] == [30081, 30080]


def test_who_is_no_balancer_any_more_has_nothing_of_one() -> None:
    old = whole(
        type="LoadBalancer",
        ports=[port("http", 80, 30080), port("more", 81, 30081)],
        externalTrafficPolicy="Local",
        healthCheckNodePort=30001,
        allocateLoadBalancerNodePorts=True,
    )
    old["status"] = {"loadBalancer": {"ingress": [{"ip": "192.0.2.1", "ipMode": "VIP"}]}}
    spec = {**copy.deepcopy(old["spec"]), "type": "ClusterIP", "ports": [port("http", 80, 30080)]}

    new = changed(old, **spec)

    assert new["status"] == {"loadBalancer": {}}
    assert new["spec"]["ports"] == [port("http", 80)]
    assert {"externalTrafficPolicy", "healthCheckNodePort", "allocateLoadBalancerNodePorts"}.isdisjoint(
        new["spec"]
    )
    assert told(new, old) == []


def test_a_balancer_that_wants_no_node_ports_keeps_those_that_its_writer_leaves_in() -> None:
    old = whole(
        type="LoadBalancer",
        ports=[port("http", 80, 30080)],
        externalTrafficPolicy="Cluster",
        allocateLoadBalancerNodePorts=True,
    )

    kept = changed(old, **{**copy.deepcopy(old["spec"]), "allocateLoadBalancerNodePorts": False})
    gone = changed(
        old,
        **{**copy.deepcopy(old["spec"]), "allocateLoadBalancerNodePorts": False, "ports": [port("http", 80)]},
    )

    assert kept["spec"]["ports"] == [port("http", 80, 30080)]
    assert gone["spec"]["ports"] == [port("http", 80)]


def test_an_alias_keeps_nothing_of_addresses_but_what_its_writer_wants_anew() -> None:
    old = whole(**BOTH)
    spec = {**copy.deepcopy(old["spec"]), "type": "ExternalName", "externalName": "a.b"}

    assert told(changed(old, **spec), old) == []
    asks = changed(old, **{**spec, "ipFamilyPolicy": "SingleStack"})
    assert told(asks, old) == [(AT_POLICY, "may not be set for ExternalName services")]
