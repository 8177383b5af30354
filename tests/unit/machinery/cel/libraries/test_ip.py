"""kubernetes.net.ip."""

from typing import Any

import pytest

from kybern.machinery.cel.functions import Range
from kybern.machinery.cel.libraries.ip import LIBRARY
from tests.unit.machinery.cel.libraries.calls import call, counted, estimated, fails


@pytest.mark.parametrize(
    ("text", "valid"),
    [
        ("127.0.0.1", True), ("::1", True), ("127.0.0.256", False), (":::1", False), ("10.0.0.01", False),
        ("::ffff:1.2.3.4", False), ("fe80::1%eth0", False), ("", False), ("1.2.3.4/8", False),
    ],
)  # fmt: skip
def test_what_is_an_address(text: str, *, valid: bool) -> None:
    assert call(LIBRARY, "is_ip", text) is valid


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("127.0.0.256",
         ('IP Address "127.0.0.256" parse error during conversion from string: '
         'ParseAddr("127.0.0.256"): IPv4 field has value >255')),
        ("::ffff:1.2.3.4", 'IPv4-mapped IPv6 address "::ffff:1.2.3.4" is not allowed'),
        ("fe80::1%eth0", 'IP address "fe80::1%eth0" with zone value is not allowed'),
    ],
)  # fmt: skip
def test_what_is_none_says_why(text: str, says: str) -> None:
    assert fails(LIBRARY, "string_to_ip", text) == says
    assert fails(LIBRARY, "ip_is_canonical", text) == says


@pytest.mark.parametrize(
    ("text", "name", "found"),
    [
        ("127.0.0.1", "family", 4),
        ("::1", "family", 6),
        ("0.0.0.0", "is_unspecified", True),
        ("127.0.0.1", "is_unspecified", False),
        ("::", "is_unspecified", True),
        ("::1", "is_unspecified", False),
        ("127.0.0.1", "is_loopback", True),
        ("127.9.9.9", "is_loopback", True),
        ("192.168.0.1", "is_loopback", False),
        ("::1", "is_loopback", True),
        ("2001:db8::abcd", "is_loopback", False),
        ("224.0.0.1", "is_link_local_multicast", True),
        ("224.0.1.1", "is_link_local_multicast", False),
        ("ff02::1", "is_link_local_multicast", True),
        ("ff12::1", "is_link_local_multicast", True),
        ("fd00::1", "is_link_local_multicast", False),
        ("169.254.169.254", "is_link_local_unicast", True),
        ("192.168.0.1", "is_link_local_unicast", False),
        ("fe80::1", "is_link_local_unicast", True),
        ("fd80::1", "is_link_local_unicast", False),
        ("192.168.0.1", "is_global_unicast", True),
        ("255.255.255.255", "is_global_unicast", False),
        ("0.0.0.0", "is_global_unicast", False),
        ("169.254.0.1", "is_global_unicast", False),
        ("2001:db8::abcd", "is_global_unicast", True),
        ("fd00::1", "is_global_unicast", True),
        ("ff00::1", "is_global_unicast", False),
        ("::1", "is_global_unicast", False),
    ],
)
def test_kinds_of_addresses(text: str, name: str, found: Any) -> None:
    assert call(LIBRARY, f"ip_{name}", call(LIBRARY, "string_to_ip", text)) == found


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("127.0.0.1", True), ("2001:db8::abcd", True), ("2001:DB8::ABCD", False), ("2001:db8::0:0:0:abcd", False),
        ("1:0:2:3:4:5:6:7", True), ("1::2:3:4:5:6:7", False), ("::", True), ("0::0", False),
    ],
)  # fmt: skip
def test_one_form_is_the_canonical(text: str, *, canonical: bool) -> None:
    assert call(LIBRARY, "ip_is_canonical", text) is canonical


def test_addresses_have_a_text_a_size_and_are_equal() -> None:
    found = call(LIBRARY, "string_to_ip", "2001:DB8::1")
    assert call(LIBRARY, "ip_to_string", found) == "2001:db8::1"
    assert found == call(LIBRARY, "string_to_ip", "2001:db8:0::1")
    assert (found.size(), call(LIBRARY, "string_to_ip", "1.2.3.4").size()) == (16, 4)


def test_costs() -> None:
    assert estimated(LIBRARY, "string_to_ip", Range(0, 39)) == (0, 4)
    assert estimated(LIBRARY, "ip_is_canonical", Range(7, 39)) == (2, 8)
    assert counted(LIBRARY, "is_ip", "127.0.0.1") == 1
    assert counted(LIBRARY, "ip_is_canonical", "127.0.0.1") == 2
