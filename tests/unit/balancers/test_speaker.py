"""Where a speaker's beats go."""

import pytest

from kybern.api.core_v1 import NodeAddress
from kybern.balancers.speaker import reached_at
from kybern.machinery.struct import replace
from tests.unit.balancers.making import node


@pytest.mark.parametrize(
    ("told", "reached"),
    [
        (("192.0.2.1", "fd00::1"), ["::ffff:192.0.2.1"]),
        (("fd00::1", "192.0.2.1"), ["fd00::1"]),
        (("node.example", "192.0.2.1"), ["::ffff:192.0.2.1"]),
        (("192.0.2",), []),
        ((), []),
    ],
)
def test_a_node_is_reached_at_its_first_address_whatever_else_it_tells(
    told: tuple[str, ...], reached: list[str]
) -> None:
    one = node("a")
    addresses = tuple(NodeAddress(type="InternalIP", address=text) for text in told)
    name = NodeAddress(type="Hostname", address="203.0.113.1")
    strange = replace(one, status=replace(one.status, addresses=(name, *addresses)))

    assert list(reached_at([strange])) == reached
