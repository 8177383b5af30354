"""What `ip` tells of addresses, and settings of the kernel."""

import json
from pathlib import Path

import pytest

from kybern.netfilter.programs import CannotApply
from kybern.proxy import tunables
from kybern.proxy.ipvs import node
from kybern.proxy.ipvs.plan import Options
from kybern.proxy.ipvs.remains import leaving
from kybern.proxy.ipvs.servers import Server


def told(**devices: tuple[str, ...]) -> str:
    return json.dumps(
        [
            {"ifname": name.replace("_", "-"), "addr_info": [{"local": one} for one in addresses]}
            for name, addresses in devices.items()
        ]
    )


def test_the_node_s_addresses_are_those_that_others_can_call() -> None:
    text = told(
        lo=("127.0.0.1", "::1"), eth0=("192.0.2.1", "2001:db8::1", "fe80::1"), **{node.DEVICE: ("10.96.0.1",)}
    )

    assert node.own_addresses(text) == ("192.0.2.1", "2001:db8::1")
    assert node.bound_addresses(text) == frozenset({"10.96.0.1"})


def test_no_device_is_something_else_than_a_device_without_addresses() -> None:
    assert node.bound_addresses(told(eth0=("192.0.2.1",))) is None
    assert node.bound_addresses(told(**{node.DEVICE: ()})) == frozenset()


def test_addresses_are_put_on_the_device_whole() -> None:
    assert node.addressing({"10.96.0.1", "fd00:96::1"}, {"10.96.0.2"}) == (
        "address delete 10.96.0.2/32 dev kube-ipvs0\n"
        "address replace 10.96.0.1/32 dev kube-ipvs0\n"
        "address replace fd00:96::1/128 dev kube-ipvs0\n"
    )


def test_strict_arp_is_two_settings_more() -> None:
    plain, strict = node.settings(Options()), node.settings(Options(strict_arp=True))

    assert plain["net/ipv4/vs/conntrack"] == "1"
    assert {name: value for name, value in strict.items() if name not in plain} == {
        "net/ipv4/conf/all/arp_ignore": "1",
        "net/ipv4/conf/all/arp_announce": "2",
    }


def test_only_settings_that_differ_are_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tunables, "_PLACE", tmp_path)
    (tmp_path / "right").write_text("1\n")
    (tmp_path / "wrong").write_text("0\n")

    tunables.set_all({"right": "1", "wrong": "1"})

    assert [(tmp_path / name).read_text() for name in ("right", "wrong")] == ["1\n", "1"]
    with pytest.raises(CannotApply, match=r"cannot set net\.none to 1: No such file"):
        tunables.set_all({"net/none": "1"})


@pytest.mark.parametrize(
    ("ip", "goes"), [("10.96.0.1", True), ("192.0.2.1", True), ("198.18.0.1", False), ("203.0.113.9", False)]
)
def test_virtual_servers_go_where_they_were_ours(ip: str, goes: bool) -> None:
    ours = {"10.96.0.1", "192.0.2.1", "198.18.0.1"}

    assert leaving(Server(ip, "TCP", 80), ours, Options(excluded=("198.18.0.0/15",))) == goes
