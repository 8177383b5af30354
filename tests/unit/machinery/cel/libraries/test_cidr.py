"""kubernetes.net.cidr."""

import pytest

from kybern.machinery.cel.functions import Range
from kybern.machinery.cel.libraries import ip
from kybern.machinery.cel.libraries.cidr import LIBRARY
from tests.unit.machinery.cel.libraries.calls import call, counted, estimated, fails


@pytest.mark.parametrize(
    ("text", "valid"),
    [
        ("192.168.0.0/16", True), ("::1/128", True), ("192.168.0.1/24", True), ("192.168.0.0", False),
        ("192.168.0.0/33", False), ("::1/129", False), ("1.2.3.4/08", False), ("::ffff:1.2.3.4/120", False), ("", False),
    ],
)  # fmt: skip
def test_what_is_a_network(text: str, *, valid: bool) -> None:
    assert call(LIBRARY, "is_cidr", text) is valid


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("x",
         ("network address parse error during conversion from string: "
         "network address parse error during conversion from string: netip.ParsePrefix(\"x\"): no '/'")),
        ("::ffff:1.2.3.4/120",
         ("network address parse error during conversion from string: "
         'IPv4-mapped IPv6 address "::ffff:1.2.3.4/120" is not allowed')),
    ],
)  # fmt: skip
def test_what_is_none_says_why(text: str, says: str) -> None:
    assert fails(LIBRARY, "string_to_cidr", text) == says


@pytest.mark.parametrize(
    ("network", "address", "inside"),
    [
        ("192.168.0.0/24", "192.168.0.1", True),
        ("192.168.0.0/24", "192.168.1.1", False),
        ("192.168.0.77/24", "192.168.0.1", True),
        ("2001:db8::/32", "2001:db8::1", True),
        ("2001:db8::/32", "2001:db9::1", False),
        ("0.0.0.0/0", "::1", False),
    ],
)
def test_addresses_in_networks(network: str, address: str, *, inside: bool) -> None:
    found = call(LIBRARY, "string_to_cidr", network)
    assert call(LIBRARY, "cidr_contains_ip_string", found, address) is inside
    assert call(LIBRARY, "cidr_contains_ip_ip", found, ip.of_string(address)) is inside


@pytest.mark.parametrize(
    ("network", "other", "inside"),
    [
        ("192.168.0.0/16", "192.168.10.0/24", True),
        ("192.168.1.0/24", "192.168.2.0/24", False),
        ("192.168.0.0/24", "192.168.0.0/24", True),
        ("192.168.0.0/24", "192.168.0.0/16", False),
        ("::/0", "192.168.0.0/16", False),
        ("2001:db8::/32", "2001:db8:1::/48", True),
    ],
)
def test_networks_in_networks(network: str, other: str, *, inside: bool) -> None:
    found = call(LIBRARY, "string_to_cidr", network)
    assert call(LIBRARY, "cidr_contains_cidr_string", found, other) is inside
    assert call(LIBRARY, "cidr_contains_cidr", found, call(LIBRARY, "string_to_cidr", other)) is inside


def test_what_is_asked_for_must_be_an_address() -> None:
    network = call(LIBRARY, "string_to_cidr", "10.0.0.0/8")
    assert "parse error" in fails(LIBRARY, "cidr_contains_ip_string", network, "x")
    assert "parse error" in fails(LIBRARY, "cidr_contains_cidr_string", network, "x")


def test_parts() -> None:
    found = call(LIBRARY, "string_to_cidr", "192.168.1.7/12")
    assert call(LIBRARY, "cidr_ip", found) == ip.of_string("192.168.1.7")
    assert call(LIBRARY, "cidr_prefix_length", found) == 12
    assert call(LIBRARY, "cidr_to_string", found) == "192.168.1.7/12"
    masked = call(LIBRARY, "cidr_masked", found)
    assert masked != found
    assert call(LIBRARY, "cidr_to_string", masked) == "192.160.0.0/12"
    assert masked == call(LIBRARY, "string_to_cidr", "192.160.0.0/12")
    assert found.size() == 2


def test_costs() -> None:
    text = Range(10, 100)
    assert estimated(LIBRARY, "string_to_cidr", text) == (1, 10)
    assert estimated(LIBRARY, "cidr_contains_ip_string", Range(0, 9), text) == (2, 14)
    assert estimated(LIBRARY, "cidr_contains_ip_ip", Range(0, 9), text) == (1, 4)
    assert estimated(LIBRARY, "cidr_contains_cidr_string", Range(0, 9), text) == (4, 17)
    assert estimated(LIBRARY, "cidr_contains_cidr", Range(0, 9), text) == (3, 7)
    network = call(LIBRARY, "string_to_cidr", "10.0.0.0/24")
    assert counted(LIBRARY, "cidr_contains_ip_string", network, "10.0.0.1") == 2
    assert counted(LIBRARY, "cidr_contains_ip_ip", network, ip.of_string("10.0.0.1")) == 1
    assert counted(LIBRARY, "cidr_contains_cidr_string", network, "10.0.0.0/25") == 5
    assert counted(LIBRARY, "cidr_contains_cidr", network, network) == 3
