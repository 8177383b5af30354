"""Pools as they are written, and what is refused."""

from ipaddress import ip_address

import pytest

from kybern.machinery.pools import BadPool, parse, written


def test_a_pool_is_ranges_networks_and_addresses() -> None:
    (default, quiet) = parse("default=192.0.2.10-192.0.2.12, 198.51.100.0/30;quiet=fd00::1")

    assert [str(one) for one in default.of(4)] == [
        "192.0.2.10", "192.0.2.11", "192.0.2.12", "198.51.100.1", "198.51.100.2",
    ]  # fmt: skip
    assert [str(one) for one in quiet.of(6)] == ["fd00::1"]
    assert list(quiet.of(4)) == []
    assert ip_address("192.0.2.11") in default
    assert ip_address("192.0.2.13") not in default
    assert ip_address("fd00::1") not in default


@pytest.mark.parametrize("text", ["10.0.0.8/31", "10.0.0.9/32", "fd00::/127"])
def test_small_networks_and_those_of_ipv6_give_all_their_addresses(text: str) -> None:
    (pool,) = parse(f"x={text}")

    version = 6 if ":" in text else 4
    assert len(list(pool.of(version))) == {"10.0.0.8/31": 2, "10.0.0.9/32": 1, "fd00::/127": 2}[text]


def test_what_is_written_is_read_back() -> None:
    told = {"default": ("10.0.0.1-10.0.0.9", "fd00::/120"), "b": ("10.1.0.0/24",)}

    assert [pool.name for pool in parse(written(told))] == ["default", "b"]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("x=10.0.0.9-10.0.0.1", "ends before it begins"),
        ("x=10.0.0.1-fd00::1", "ends before it begins"),
        ("x=10.0.0.0/33", "is no range"),
        ("x=10.0.0.1/24", "is no range"),
        ("x=ten", "is no range"),
        ("x=10.0.0.1-10.0.0.9;y=10.0.0.9-10.0.0.12", 'is in pool "x" already'),
        ("x=10.0.0.0/8,10.1.0.0/16", 'is in pool "x" already'),
        ("X_1=10.0.0.1", "is no name"),
        ("x=", "has no addresses"),
        ("10.0.0.1", "is not of the form"),
        ("x=10.0.0.1;x=10.0.0.2", "is there twice"),
    ],
)
def test_a_mistake_is_told_with_what_was_written(text: str, told: str) -> None:
    with pytest.raises(BadPool, match=told):
        parse(text)
