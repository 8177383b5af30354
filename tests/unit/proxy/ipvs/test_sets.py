"""Sets as ipset reads and prints them."""

from kybern.proxy.ipvs import sets


def test_names_are_upstream_s_and_fit_into_the_kernel() -> None:
    assert sets.full_name(sets.CLUSTER_IP, 4) == "KUBE-CLUSTER-IP"
    assert sets.full_name(sets.CLUSTER_IP, 6) == "KUBE-6-CLUSTER-IP"
    assert sets.full_name(sets.SOURCE_CIDR, 6) == "KUBE-6-LOAD-BALANCER-SOURCE-CID"
    assert all(len(name) <= 31 for version in (4, 6) for name in sets.names(version))
    assert len(sets.names(4) | sets.names(6)) == 2 * len(sets.TYPES)


def test_node_ports_have_a_set_for_each_protocol() -> None:
    for protocol in ("TCP", "UDP", "SCTP"):
        for local in (False, True):
            assert sets.node_ports(protocol, local=local) in sets.TYPES


def test_only_sets_that_are_not_there_are_made() -> None:
    text = sets.creation(6, {"KUBE-6-IPVS-IPS"})

    assert "create KUBE-6-CLUSTER-IP hash:ip,port family inet6 hashsize 1024 maxelem 65536\n" in text
    assert "create KUBE-6-NODE-PORT-TCP bitmap:port range 0-65535\n" in text
    assert "KUBE-6-IPVS-IPS" not in text


def test_what_is_printed_is_read_as_it_was_written() -> None:
    members = {(sets.CLUSTER_IP, "10.96.0.1,tcp:443"), (sets.HEALTH_PORT, "31000")}
    printed = (
        "create KUBE-CLUSTER-IP hash:ip,port family inet hashsize 1024 maxelem 65536 bucketsize 12 initval 0x1\n"
        "create SOMEBODY hash:ip family inet hashsize 1024 maxelem 65536\nadd SOMEBODY 192.0.2.1 timeout 4\n"
        "create KUBE-HEALTH-CHECK-NODE-PORT bitmap:port range 0-65535\n" + sets.update(4, members, ())
    )

    found = sets.saved(printed)

    assert sets.entries(found, 4) == members
    assert sets.entries(found, 6) == set()
    assert found["SOMEBODY"] == {"192.0.2.1"}


def test_what_goes_goes_before_what_comes() -> None:
    text = sets.update(4, {(sets.IPS, "10.96.0.2")}, {(sets.IPS, "10.96.0.1")})

    assert text == "del KUBE-IPVS-IPS 10.96.0.1\nadd KUBE-IPVS-IPS 10.96.0.2\n"


def test_only_sets_of_ours_are_destroyed() -> None:
    text = sets.removal({"SOMEBODY", "KUBE-CLUSTER-IP", "KUBE-6-IPVS-IPS", "KUBE-OTHER"})

    assert text == "destroy KUBE-6-IPVS-IPS\ndestroy KUBE-CLUSTER-IP\n"
