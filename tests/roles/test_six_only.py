"""A cluster whose machines have IPv6 alone: what its roles leave knows no other address, and comes to rest."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv6Address, IPv6Network
from pathlib import Path

import pytest

from kybern.machines import node_names
from kybern.machines.packages import wanted_packages
from kybern.machines.topology import Cluster, Machine
from tests.roles.harness import FakeMachine, deploy
from tests.roles.small import use, use_images

pytestmark = pytest.mark.timeout(400)

ROOT = Path(__file__).parents[2]
FOUR = re.compile(r"(?<![\d.])\d{1,3}(?:\.\d{1,3}){3}(?![\d.])")
# Addresses that every machine has, and what IPv4's closed rules and our name server's link name.
EVERYWHERE = {"127.0.0.1", "0.0.0.0"}


@dataclass(frozen=True)
class Deployed:
    cluster: Cluster
    fakes: tuple[FakeMachine, ...]
    again: dict[str, list[str]]
    admin: str

    @property
    def master(self) -> dict[str, str]:
        return texts(self.fakes[0])

    @property
    def worker(self) -> dict[str, str]:
        return texts(self.fakes[-1])


def texts(fake: FakeMachine) -> dict[str, str]:
    ends = (".service", ".conf", ".cfg", ".yaml", ".env", ".rules", "hosts", "kybern/ipv6", "kybern/firewall")
    return {path: content.decode() for path, content in fake.contents.items() if path.endswith(ends)}


def machine(name: str, end: int, *roles: str) -> Machine:
    return Machine(name, IPv6Address(f"fd00:1::{end}"), frozenset(roles))


@pytest.fixture(scope="module")
def six(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployed]:
    """Deployed twice: that is long, and changes nothing any more."""
    masters = (machine(f"m{at}", 10 + at, "etcd", "control-plane") for at in (1, 2, 3))
    cluster = Cluster(
        name="six",
        network=IPv6Network("fd00:1::/64"),
        gateway=IPv6Address("fd00:1::1"),
        vip=IPv6Address("fd00:1::10"),
        machines=(*masters, machine("w1", 21, "worker")),
        pod_cidr=IPv6Network("fd00:244::/56"),
        service_cidr=IPv6Network("fd00:96::/112"),
        load_balancer=(("default", ("fd00:1::100-fd00:1::110",)),),
        ingress=True,
        node_local_dns=True,
        proxy_mode="ipvs",
    )
    folder = tmp_path_factory.mktemp("six")
    (folder / "six").mkdir()
    with pytest.MonkeyPatch.context() as patched:
        patched.chdir(ROOT)
        patched.setenv("KYBERN_STATE", str(folder))
        use_images(folder, patched)
        use(folder, patched, "one")
        fakes = tuple(
            FakeMachine(one.name, packages=set(wanted_packages(cluster, one))) for one in cluster.machines
        )
        deploy(cluster, fakes)
        again = deploy(cluster, fakes)
        yield Deployed(cluster, fakes, again, (folder / "six/admin.conf").read_text())


def test_no_file_of_a_machine_names_an_address_of_ipv4(six: Deployed) -> None:
    for fake in six.fakes:
        for path, text in texts(fake).items():
            found = set(FOUR.findall(text)) - EVERYWHERE
            assert not found, f"{path} of {fake.name} names {found}"
    assert six.again == {}


def test_addresses_stand_in_brackets_where_a_port_follows(six: Deployed) -> None:
    master, worker = six.master, six.worker

    etcd = master["/etc/systemd/system/etcd.service"]
    assert "--listen-peer-urls=https://[fd00:1::11]:2380 " in etcd
    assert "--listen-client-urls=https://[fd00:1::11]:2379,https://127.0.0.1:2379 " in etcd
    api = master["/etc/systemd/system/kube-apiserver.service"]
    assert "--advertise-address=fd00:1::11 " in api
    assert "https://[fd00:1::11]:2379,https://[fd00:1::12]:2379,https://[fd00:1::13]:2379" in api
    assert "server m2 [fd00:1::12]:6443 " in worker["/etc/haproxy/haproxy.cfg"]
    assert "bind ipv6@:::8443 v4v6 " in master["/etc/haproxy/haproxy.cfg"]
    assert "bind 127.0.0.1:6443 tcp-ut" in worker["/etc/haproxy/haproxy.cfg"]
    assert '"server": "https://[fd00:1::10]:6443"' in six.admin
    names = master["/etc/systemd/system/kybern-dns.service"]
    assert "--bind-address=fd00:1::11 " in names
    assert "--health-bind-address=[fd00:1::11]:9153" in names


def test_the_virtual_address_is_one_of_ipv6_on_its_own(six: Deployed) -> None:
    conf = six.master["/etc/keepalived/keepalived.conf"]

    assert "        fd00:1::10/128\n" in conf
    assert "    unicast_src_ip fd00:1::11\n" in conf
    assert "        fd00:1::12\n        fd00:1::13\n" in conf


def test_the_firewall_lets_the_cluster_in_by_ipv6_and_nobody_by_ipv4(six: Deployed) -> None:
    files = six.master
    rules = files["/etc/kybern/firewall6.rules"]
    members = "-A KYBERN-INPUT -s fd00:1::12/128 -p tcp --dport 2379 -j RETURN\n"
    order = [members, "--dport 2379 -j DROP", "-s fd00:1::21/128 -j RETURN", "-s fd00:244::/56 -j RETURN"]
    assert [rules.index(text) for text in order] == sorted(rules.index(text) for text in order)
    assert "-A KYBERN-PODS ! -s fd00:244::/56 -j RETURN\n" in rules
    closed = files["/etc/kybern/firewall.rules"]
    assert "--dport 22 -j RETURN" in closed
    assert "--dport 6443" not in closed
    assert "KYBERN-PODS" not in closed
    load = files["/etc/kybern/firewall"]
    assert "ip6tables -w 10 -t nat -A POSTROUTING -j KYBERN-PODS" in load
    assert "iptables -w 10 -t nat -A POSTROUTING" not in load.replace("ip6tables", "")


def test_a_machine_forwards_and_keeps_the_address_that_it_has(six: Deployed) -> None:
    script = six.worker["/etc/kybern/ipv6"]

    assert "net.ipv6.conf.all.forwarding=1" in script
    assert "address replace" not in script


def test_pods_ask_a_cache_on_their_node_by_ipv6(six: Deployed) -> None:
    assert str(node_names.address_of(six.cluster)) == "fd00:169:254:20::10"
    config = six.worker["/var/lib/kubelet/config.yaml"]
    assert 'clusterDNS: ["fd00:169:254:20::10", "fd00:96::a"]' in config
    link = six.worker["/etc/systemd/system/kybern-node-dns-link.service"]
    assert "address replace fd00:169:254:20::10/128 dev kybern-dns nodad\n" in link


def test_addresses_for_services_and_ingresses_are_of_ipv6(six: Deployed) -> None:
    worker, files = six.cluster.workers[0], six.worker

    assert f"--node-ip={worker.address} " in files["/etc/systemd/system/kybern-speaker.service"]
    ingress = files["/etc/systemd/system/kybern-ingress.service"]
    assert f"--publish-addresses={worker.address} " in ingress
    assert "--http-bind=[::]:80 " in ingress


def test_virtual_servers_are_of_ipv6(six: Deployed) -> None:
    proxy = six.worker["/etc/systemd/system/kube-proxy.service"]

    assert "--cluster-cidr=fd00:244::/56 " in proxy
    assert "--proxy-mode=ipvs --ipvs-strict-arp\n" in proxy
    assert " ip_vs ip_vs_rr " in six.worker["/etc/systemd/system/kybern-machine.service"]
