"""What a node's shell prints, as a record."""

import json

from kybern.reach.seen import drops, read, script

SAID = f"""== links
{json.dumps([{"ifname": "cni0", "ifindex": 3, "flags": ["UP"]}, {"ifname": "veth1", "ifindex": 7, "flags": []}])}
== addresses
{json.dumps([{"ifname": "cni0", "addr_info": [{"local": "10.244.1.1"}]}, {}])}
== sysctl net.ipv4.ip_forward
1
== sysctl net.bridge.bridge-nf-call-iptables
== route 10.244.2.3
{json.dumps([{"dst": "10.244.2.3", "gateway": "192.0.2.2", "dev": "eth0"}])}
== route 198.51.100.9
== neighbours
{json.dumps([{"dst": "192.0.2.2", "state": ["FAILED"]}, {}])}
== tunnels
== iptables
:FORWARD DROP [3:300]
[5:300] -A KYBERN-INPUT -j DROP
== nft
== unit kubelet
active
== peer abc
7
== peer def
== end
"""


def test_all_sections_are_read() -> None:
    found = read(SAID)

    assert found.answered
    assert set(found.links) == {"cni0", "veth1"}
    assert found.addresses == {"10.244.1.1": "cni0"}
    assert found.sysctls == {"net.ipv4.ip_forward": "1", "net.bridge.bridge-nf-call-iptables": ""}
    assert found.routes["10.244.2.3"]["gateway"] == "192.0.2.2"
    assert found.routes["198.51.100.9"] == {}
    assert found.neighbours == {"192.0.2.2": "FAILED"}
    assert found.units == {"kubelet": "active"}
    assert found.peers == {"abc": 7}
    assert found.drops == {
        "iptables policy of chain FORWARD, DROP": 3,
        "iptables -A KYBERN-INPUT -j DROP": 5,
    }


def test_a_look_that_was_cut_off_is_no_answer() -> None:
    assert not read("").answered
    assert not read(SAID.replace("== end", "")).answered


def test_drops_of_nftables_are_named_by_table_and_chain() -> None:
    nft = """
table inet mine {
    chain forward {
        type filter hook forward priority 0; policy accept;
        ip saddr 192.0.2.9 counter packets 7 bytes 420 drop
        counter packets 9 bytes 1 accept
    }
}
table ip filter {
    chain INPUT {
        counter packets 5 bytes 300 drop
    }
}
"""
    assert drops("", nft) == {"nft table inet mine, chain forward: ip saddr 192.0.2.9 drop": 7}


def test_the_script_asks_for_each_way_once_and_no_empty_one() -> None:
    made = script(["192.0.2.2", "", "192.0.2.2"], ["", "abc"])

    assert made.count("ip -j route get 192.0.2.2") == 1
    assert made.count("tasks exec") == 1
