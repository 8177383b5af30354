"""Names inside pods: resolv.conf, hosts, hostname."""

import pytest

from kybern.api.core_v1 import HostAlias, PodDNSConfig, PodDNSConfigOption
from kybern.kubelet.names import (
    Resolver,
    TooLong,
    hostname_of,
    hosts_file,
    kernel_hostname,
    read_resolv_conf,
    resolver_of,
)
from tests.unit.kubelet.making import pod

NODE = Resolver(("1.1.1.1",), ("corp.example",), ("timeout:2",))
DNS = ("10.96.0.10",)


def test_a_resolv_conf_is_read() -> None:
    text = "# c\nnameserver 1.1.1.1\nnameserver 2.2.2.2 # x\ndomain a.b\nsearch c.d. e.f\noptions ndots:2 rotate\n"

    assert read_resolv_conf(text) == Resolver(("1.1.1.1", "2.2.2.2"), ("c.d", "e.f"), ("ndots:2", "rotate"))


def test_a_pod_asks_the_cluster_first() -> None:
    found, told = resolver_of(pod(dns_policy="ClusterFirst"), NODE, DNS, "cluster.local")

    assert told == ()
    assert found.servers == DNS
    assert found.searches == (
        "default.svc.cluster.local",
        "svc.cluster.local",
        "cluster.local",
        "corp.example",
    )
    assert found.options == ("ndots:5", "timeout:2")


def test_a_pod_in_the_nodes_network_asks_as_the_node_does() -> None:
    plain, _ = resolver_of(pod(dns_policy="ClusterFirst", host_network=True), NODE, DNS, "cluster.local")
    asked, _ = resolver_of(pod(dns_policy="ClusterFirstWithHostNet", host_network=True), NODE, DNS, "c")

    assert plain == NODE
    assert asked.servers == DNS


def test_without_a_cluster_dns_the_node_is_asked_and_someone_is_told() -> None:
    found, ((reason, text),) = resolver_of(pod(), NODE, (), "cluster.local")

    assert found == NODE
    assert reason == "MissingClusterDNS"
    assert text.startswith("kubelet does not have ClusterDNS IP configured")


def test_what_no_resolver_takes_is_left_out_and_told() -> None:
    config = PodDNSConfig(
        nameservers=("2.2.2.2", "3.3.3.3", "4.4.4.4", "5.5.5.5"),
        searches=tuple(f"{number}.example" for number in range(40)),
    )

    found, told = resolver_of(pod(dns_policy="None", dns_config=config), NODE, DNS, "c")
    long = PodDNSConfig(searches=tuple(f"{number}{'x' * 200}" for number in range(12)))
    shorter, (only,) = resolver_of(pod(dns_policy="Default", dns_config=long), NODE, DNS, "c")

    assert found.servers == ("2.2.2.2", "3.3.3.3", "4.4.4.4")
    assert len(found.searches) == 32
    assert told == (
        (
            "DNSConfigForming",
            "Nameserver limits were exceeded, some nameservers have been omitted, the applied nameserver line is: "
            + " ".join(found.servers),
        ),
        (
            "DNSConfigForming",
            "Search Line limits were exceeded, some search paths have been omitted, the applied search line is: "
            + " ".join(found.searches),
        ),
    )
    assert len(" ".join(shorter.searches)) <= 2048
    assert only[1].startswith("Search Line limits were exceeded")


def test_the_pods_own_settings_come_on_top() -> None:
    config = PodDNSConfig(
        nameservers=("9.9.9.9",), searches=("x.y",), options=(PodDNSConfigOption(name="ndots", value="1"),)
    )

    none, _ = resolver_of(pod(dns_policy="None", dns_config=config), NODE, DNS, "c")
    first, _ = resolver_of(pod(dns_config=config), NODE, DNS, "c")

    assert none == Resolver(("9.9.9.9",), ("x.y",), ("ndots:1",))
    assert first.options == ("ndots:1", "timeout:2")
    assert first.servers == ("10.96.0.10", "9.9.9.9")


def test_hostnames_are_short_and_know_their_subdomain() -> None:
    named = pod(hostname="h", subdomain="sub", set_hostname_as_fqdn=True)

    assert hostname_of(named, "c.l", "n1") == ("h", "sub.default.svc.c.l")
    assert kernel_hostname(named, "c.l", "n1") == "h.sub.default.svc.c.l"
    assert hostname_of(pod(host_network=True), "c.l", "n1") == ("n1", "")


def test_a_name_that_the_kernel_does_not_take_is_refused() -> None:
    named = pod(hostname="h" * 30, subdomain="s" * 30, set_hostname_as_fqdn=True)
    full = f"{'h' * 30}.{'s' * 30}.default.svc.c.l"

    with pytest.raises(TooLong) as raised:
        kernel_hostname(named, "c.l", "n1")

    assert str(raised.value) == (
        f"failed to construct FQDN from pod hostname and cluster domain, FQDN {full} is too long "
        f"(64 is the max, {len(full)} characters requested)"
    )


def test_a_hosts_file_names_the_pod_and_its_aliases() -> None:
    named = pod(host_aliases=(HostAlias(ip="1.2.3.4", hostnames=("a", "b")),))

    text = hosts_file(named, ("10.0.0.7",), ("web", ""), "")

    assert text.startswith("# Kubernetes-managed hosts file.\n127.0.0.1\tlocalhost\n")
    assert "10.0.0.7\tweb\n" in text
    assert text.endswith("# Entries added by HostAliases.\n1.2.3.4\ta\tb\n")


def test_a_pod_in_the_nodes_network_sees_the_nodes_hosts() -> None:
    text = hosts_file(pod(host_network=True), (), ("n1", ""), "127.0.0.1 localhost\n")

    assert text == "# Kubernetes-managed hosts file (host network).\n127.0.0.1 localhost\n"
