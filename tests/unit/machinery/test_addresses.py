"""Addresses as Go's net/netip reads them."""

from ipaddress import ip_address

import pytest

from kybern.machinery import addresses


@pytest.mark.parametrize(
    "text",
    ["0.0.0.0", "127.0.0.1", "255.255.255.255", "::", "::1", "1::", "1:2:3:4:5:6:7:8", "2001:DB8::ABCD", "fe80::1%eth0",
     "::ffff:1.2.3.4", "1:2:3:4:5:6:1.2.3.4", "1::1.2.3.4", "1:2:3:4:5:6:7::"],
)  # fmt: skip
def test_addresses_are_what_python_takes_them_for(text: str) -> None:
    assert addresses.parse(text) == ip_address(text)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "unable to parse IP"),
        ("x", "unable to parse IP"),
        ("fe80%eth0", "missing IPv6 address"),
        ("127.0.0.256", "IPv4 field has value >255"),
        ("01.2.3.4", "IPv4 field has octet with leading zero"),
        ("1.2.3", "IPv4 address too short"),
        ("1.2.3.4.5", "IPv4 address too long"),
        ("1..2.3", 'IPv4 field must have at least one digit (at ".2.3")'),
        ("1.2.3.", 'IPv4 field must have at least one digit (at ".")'),
        ("1.2.3.x", 'unexpected character (at "x")'),
        (":::1", 'each colon-separated field must have at least one digit (at ":1")'),
        (":1", 'each colon-separated field must have at least one digit (at ":1")'),
        ("12345::", 'each group must have 4 or less digits (at "12345::")'),
        ("1::2::3", 'multiple :: in address (at ":3")'),
        ("1:2:3:4:5:6:7:8:9", 'trailing garbage after address (at "9")'),
        ("1:2", "address string too short"),
        ("1:", 'colon must be followed by more characters (at ":")'),
        ("1:g", 'each colon-separated field must have at least one digit (at "g")'),
        ("1::2x", 'unexpected character, want colon (at "x")'),
        ("1:2:3:4:5:6:7:8::", "the :: must expand to at least one field of zeros"),
        ("::1:2:3:4:5:6:7:8", "the :: must expand to at least one field of zeros"),
        ("1:2:1.2.3.4", 'embedded IPv4 address must replace the final 2 fields of the address (at "1.2.3.4")'),
        ("::1:2:3:4:5:6:7:1.2.3.4",
         'too many hex fields to fit an embedded IPv4 at the end of the address (at "1.2.3.4")'),
        ("::1%", "zone must be a non-empty string"),
    ],
)  # fmt: skip
def test_what_is_no_address_says_why(text: str, says: str) -> None:
    with pytest.raises(addresses.AddressError) as found:
        addresses.parse(text)
    assert str(found.value) == f'ParseAddr("{text}"): {says}'


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("1.2.3.4", "no '/'"),
        ("x/1", 'ParseAddr("x"): unable to parse IP'),
        ("fe80::1%a/64", "IPv6 zones cannot be present in a prefix"),
        ("1.2.3.4/033", 'bad bits after slash: "033"'),
        ("1.2.3.4/", 'bad bits after slash: ""'),
        ("1.2.3.4/-1", 'bad bits after slash: "-1"'),
        ("1.2.3.4/33", "prefix length out of range"),
        ("::1/129", "prefix length out of range"),
    ],
)
def test_what_is_no_network_says_why(text: str, says: str) -> None:
    with pytest.raises(addresses.AddressError) as found:
        addresses.parse_network(text)
    assert str(found.value) == f'netip.ParsePrefix("{text}"): {says}'


def test_networks_keep_their_bits() -> None:
    assert addresses.parse_network("10.1.2.3/8") == (ip_address("10.1.2.3"), 8)
