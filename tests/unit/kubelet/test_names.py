"""Names inside pods: resolv.conf, hosts, hostname."""

from kybern.api.core_v1 import HostAlias, PodDNSConfig, PodDNSConfigOption
from kybern.kubelet.names import (
    Resolver,
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
    found, warning = resolver_of(pod(dns_policy="ClusterFirst"), NODE, DNS, "cluster.local")

    assert warning == ""
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
    found, warning = resolver_of(pod(), NODE, (), "cluster.local")

    assert found == NODE
    assert warning.startswith("kubelet does not have ClusterDNS IP configured")


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


def test_a_hosts_file_names_the_pod_and_its_aliases() -> None:
    named = pod(host_aliases=(HostAlias(ip="1.2.3.4", hostnames=("a", "b")),))

    text = hosts_file(named, ("10.0.0.7",), ("web", ""), "")

    assert text.startswith("# Kubernetes-managed hosts file.\n127.0.0.1\tlocalhost\n")
    assert "10.0.0.7\tweb\n" in text
    assert text.endswith("# Entries added by HostAliases.\n1.2.3.4\ta\tb\n")


def test_a_pod_in_the_nodes_network_sees_the_nodes_hosts() -> None:
    text = hosts_file(pod(host_network=True), (), ("n1", ""), "127.0.0.1 localhost\n")

    assert text == "# Kubernetes-managed hosts file (host network).\n127.0.0.1 localhost\n"
