"""Policies, pods, namespaces and packets of all kinds: our rules say what the API says, after every change."""

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.policies.judge import Packet, World, addresses, allowed, is_isolated
from tests.unit.policies.worlds import Node, a_pod, a_policy, nodes_of, passes

# Few of each, so that changes meet: a policy goes that was there, a pod comes that is asked for.
NAMESPACES = ("x", "y")
NAMES = ("a", "b")
LABELS = st.dictionaries(st.sampled_from(("app", "tier")), st.sampled_from(("1", "2")), max_size=2)
EXPRESSIONS = st.builds(
    lambda key, operator, values: {
        "key": key, "operator": operator, **({"values": values} if operator in ("In", "NotIn") else {}),
    },
    st.sampled_from(("app", "tier")),
    st.sampled_from(("In", "NotIn", "Exists", "DoesNotExist")),
    st.lists(st.sampled_from(("1", "2")), min_size=1, max_size=2),
)  # fmt: skip
SELECTORS = st.fixed_dictionaries(
    {}, optional={"matchLabels": LABELS, "matchExpressions": st.lists(EXPRESSIONS, max_size=2)}
)
CIDRS = (
    "10.1.0.0/16",
    "10.1.0.0/30",
    "10.1.0.2/31",
    "10.1.0.1/32",
    "0.0.0.0/0",
    "192.0.2.0/24",
    "fd00::/64",
    "::/0",
)
BLOCKS = st.sampled_from(CIDRS).flatmap(
    lambda cidr: st.fixed_dictionaries(
        {"cidr": st.just(cidr)},
        optional={
            "except": st.lists(
                st.sampled_from([one for one in CIDRS if (":" in one) == (":" in cidr)]), max_size=3
            )
        },
    )
)
PEERS = st.one_of(
    st.fixed_dictionaries({"podSelector": SELECTORS}),
    st.fixed_dictionaries({"namespaceSelector": SELECTORS}),
    st.fixed_dictionaries({"podSelector": SELECTORS, "namespaceSelector": SELECTORS}),
    st.fixed_dictionaries({"ipBlock": BLOCKS}),
)
PROTOCOLS = st.sampled_from(("TCP", "UDP", "SCTP"))
PORTS = st.one_of(
    st.fixed_dictionaries({}, optional={"protocol": PROTOCOLS}),
    st.fixed_dictionaries({"port": st.sampled_from((80, 81, "web", "dns"))}, optional={"protocol": PROTOCOLS}),
    st.fixed_dictionaries({"port": st.just(79), "endPort": st.sampled_from((79, 80, 90))}),
)  # fmt: skip
RULES = {
    way: st.lists(
        st.fixed_dictionaries(
            {}, optional={peers: st.lists(PEERS, max_size=3), "ports": st.lists(PORTS, max_size=3)}
        ),
        max_size=2,
    )
    for way, peers in (("ingress", "from"), ("egress", "to"))
}
TYPES = st.sampled_from((["Ingress"], ["Egress"], ["Ingress", "Egress"]))


@st.composite
def pods(draw: st.DrawFn, namespace: str, name: str) -> Any:
    number = NAMESPACES.index(namespace) * len(NAMES) + NAMES.index(name) + 1
    ips = draw(st.sampled_from(((), (f"10.1.0.{number}",), (f"10.1.0.{number}", f"fd00::{number}"))))
    ports = draw(
        st.lists(st.tuples(st.sampled_from(("web", "dns")), PROTOCOLS, st.sampled_from((80, 81))), max_size=2)
    )
    return a_pod(
        namespace,
        name,
        draw(LABELS),
        ips,
        node=draw(st.sampled_from(("n1", "n2"))),
        phase=draw(st.sampled_from(("Running", "Running", "Running", "Succeeded"))),
        host=draw(st.sampled_from((False, False, False, True))),
        ports=ports,
    )


@st.composite
def changes(draw: st.DrawFn) -> tuple[str, Any, Any]:
    """What changes, which one, and what it is now; None for what goes."""
    namespace, name = draw(st.sampled_from(NAMESPACES)), draw(st.sampled_from(NAMES))
    kind = draw(st.sampled_from(("pod", "pod", "policy", "policy", "namespace")))
    if draw(st.integers(0, 4)) == 0:
        return kind, namespace if kind == "namespace" else (namespace, name), None
    if kind == "namespace":
        return kind, namespace, draw(LABELS)
    if kind == "pod":
        return kind, (namespace, name), draw(pods(namespace, name))
    return (
        kind,
        (namespace, name),
        a_policy(
            namespace,
            name,
            draw(SELECTORS),
            draw(RULES["ingress"]),
            draw(RULES["egress"]),
            draw(TYPES),
        ),
    )


def change(world: World, nodes: tuple[Node, ...], what: tuple[str, Any, Any]) -> None:
    kind, key, raw = what
    held: Any = {"pod": world.pods, "policy": world.policies, "namespace": world.namespaces}[kind]
    held.pop(key, None)
    if raw is not None:
        held[key] = raw
    for node in nodes:
        getattr(node, f"put_{kind}")(key, raw)


def packets(world: World) -> list[Packet]:
    ips = [ip for pod in world.pods.values() for ip in addresses(pod)] + ["192.0.2.7", "fd00::ffff"]
    pairs = [(one, other) for one in ips for other in ips if (":" in one) == (":" in other)]
    return [
        Packet(one, other, protocol, port)
        for one, other in pairs
        for protocol, port in (("TCP", 80), ("TCP", 81), ("UDP", 80), ("SCTP", 90))
    ]


@settings(max_examples=150, deadline=None)
@given(
    st.lists(changes(), min_size=5, max_size=12),
    st.lists(st.lists(changes(), min_size=1, max_size=3), min_size=1, max_size=4),
)
def test_after_every_change_a_packet_passes_exactly_when_the_api_says_so(
    first: list[Any], later: list[list[Any]]
) -> None:
    world = World({name: {} for name in NAMESPACES})
    nodes = tuple(Node(name) for name in ("n1", "n2"))
    for name in NAMESPACES:
        change(world, nodes, ("namespace", name, {}))

    for several in (first, *later):
        for one in several:
            change(world, nodes, one)
        for node in nodes:
            node.settle()

        for packet in packets(world):
            assert passes(nodes, packet) == allowed(world, packet), packet
        for node, fresh in zip(nodes, nodes_of(world), strict=True):
            assert node.kernel == fresh.kernel, "what a daemon that has just begun would write"
            mine = [pod for pod in world.pods.values() if pod["spec"]["nodeName"] == node.model.node]
            assert node.model.is_needed == any(is_isolated(world, pod) for pod in mine)
