"""What kybern-dns makes of its flags and its file."""

from pathlib import Path

import pytest

from kybern.cli.dns import FLAGS
from kybern.daemon.run import Fatal
from kybern.dns.config import Config, others, read, resolvers, servers
from kybern.dns.upstream import Server

HEAD = "apiVersion: dns.kybern.io/v1alpha1\nkind: DNSConfiguration\n"


def config(tmp_path: Path, *flags: str, file: str = "", resolv: str = "nameserver 192.0.2.1\n") -> Config:
    (tmp_path / "resolv.conf").write_text(resolv)
    (tmp_path / "dns.yaml").write_text(HEAD + file)
    given = ["--kubeconfig=k", f"--resolv-conf={tmp_path}/resolv.conf", *flags]
    return read(FLAGS.read([*given, f"--config={tmp_path}/dns.yaml"] if file else given))


def test_the_defaults_serve_a_usual_cluster(tmp_path: Path) -> None:
    found = config(tmp_path)

    assert (found.domain, found.port, found.addresses) == ("cluster.local", 53, ("0.0.0.0",))
    assert (found.answers.ttl, found.answers.negative_ttl, found.answers.pods) == (30, 5, True)
    assert found.upstreams == (Server("192.0.2.1"),)


def test_the_file_is_read_and_flags_win(tmp_path: Path) -> None:
    file = "clusterDomain: K8s.Example.org.\nttlSeconds: 7\nupstreams: ['192.0.2.9:54', '2001:db8::1']\n"
    found = config(tmp_path, "--ttl=9", file=file + "stubDomains: {Corp.example.: ['[2001:db8::2]:55']}")

    assert (found.domain, found.answers.ttl) == ("k8s.example.org", 9)
    assert found.upstreams == (Server("192.0.2.9", 54), Server("2001:db8::1"))
    assert found.stubs == {"corp.example": (Server("2001:db8::2", 55),)}


@pytest.mark.parametrize(("file", "says"), [
    ("upstrems: [a]", 'unknown field "upstrems"'), ("upstreams: [dns.example.com]", 'name server "dns.example.com"'),
    ("upstreams: ['192.0.2.1:x']", 'name server "192.0.2.1:x"'), ("stubDomains: {a: [b]}", 'name server "b"'),
    ("stubDomains: {a: []}", "names no server for it"), ("stubDomains: {a: 192.0.2.1}", "names no server for it"),
])  # fmt: skip
def test_a_mistake_is_named(tmp_path: Path, file: str, says: str) -> None:
    with pytest.raises(Fatal, match=says):
        config(tmp_path, file=file)


def test_without_an_api_server_there_is_nothing_to_do() -> None:
    with pytest.raises(Fatal, match="no API server is named"):
        read(FLAGS.read([]))


@pytest.mark.parametrize(("text", "found"), [
    ("", []), ("search a\n# nameserver 1.2.3.4\n", []),
    ("nameserver 1.2.3.4\nnameserver fe80::1%e0", ["1.2.3.4", "fe80::1"]),
    ("nameserver what\nnameserver\nnameserver 1.1.1.1 # x\nnameserver 1.1.1.1", ["1.1.1.1"]),
])  # fmt: skip
def test_resolv_conf_is_read_as_resolvers_do(text: str, found: list[str]) -> None:
    assert [server.address for server in resolvers(text)] == found


@pytest.mark.parametrize(("ours", "port", "left"), [
    ({"0.0.0.0"}, 53, ["192.0.2.1", "10.96.0.10"]), ({"192.0.2.1"}, 53, ["127.0.0.1", "10.96.0.10"]),
    ({"10.0.0.1", "10.96.0.10"}, 53, ["127.0.0.1", "192.0.2.1"]),
    ({"0.0.0.0"}, 5353, ["127.0.0.1", "192.0.2.1", "10.96.0.10"]),
])  # fmt: skip
def test_it_never_asks_itself(ours: set[str], port: int, left: list[str]) -> None:
    listed = servers(("127.0.0.1", "192.0.2.1", "10.96.0.10"))

    assert [server.address for server in others(listed, frozenset(ours), port)] == left


def test_cluster_servers_make_a_cache_that_needs_no_api_server() -> None:
    found = read(
        FLAGS.read(["--cluster-servers=10.96.0.10,192.0.2.1", "--upstreams=192.0.2.53", "--stale-seconds=60"])
    )

    both = (Server("10.96.0.10"), Server("192.0.2.1"))
    assert found.cluster_servers == both
    assert found.stubs == {"cluster.local": both, "in-addr.arpa": both, "ip6.arpa": both}
    assert (found.upstreams, found.stale_seconds) == ((Server("192.0.2.53"),), 60)


@pytest.mark.parametrize("flag", ["--kubeconfig=k", "--service=kube-system/kube-dns"])
def test_a_cache_keeps_no_names_of_its_own(flag: str) -> None:
    with pytest.raises(Fatal, match="which has no use for"):
        read(FLAGS.read(["--cluster-servers=10.96.0.10", flag]))
