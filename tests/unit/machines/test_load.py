import re
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from kybern.machines.clouds import LOCAL
from kybern.machines.errors import TopologyError
from kybern.machines.load import load
from kybern.machines.lxc import Lxc
from kybern.machines.plan import wanted
from kybern.machines.topology import Cloud

TOPOLOGIES = Path(__file__).parents[3] / "inventories" / "topology"
GOOD = """\
cluster: good
network: 10.8.0.0/24
vip: 10.8.0.10
defaults: {memory: 2GiB}
machines:
  - {name: a, address: 10.8.0.11, roles: [etcd, control-plane]}
  - {name: b, address: 10.8.0.12, roles: [etcd, control-plane]}
  - {name: c, address: 10.8.0.13, roles: [etcd, control-plane]}
  - {name: d, address: 10.8.0.21, roles: [worker], memory: 512MiB, cpus: 4, disk: 1TiB}
"""


def refused(tmp_path: Path, old: str, new: str) -> str:
    assert old in GOOD
    path = tmp_path / "x.yaml"
    path.write_text(GOOD.replace(old, new, 1))
    with pytest.raises(TopologyError) as told:
        load(path)
    return str(told.value).removeprefix(f"{path}:")


def test_a_topology_becomes_a_cluster(tmp_path: Path) -> None:
    path = tmp_path / "good.yaml"
    path.write_text(GOOD)

    cluster = load(path)

    assert (cluster.name, str(cluster.vip), str(cluster.gateway)) == ("good", "10.8.0.10", "10.8.0.1")
    assert [machine.name for machine in cluster.masters] == ["a", "b", "c"]
    assert cluster.machines[0].memory == 2048
    worker = cluster.machines[3]
    assert (worker.memory, worker.cpus, worker.disk) == (512, 4, 1024 * 1024)


def test_admission_plugins_are_named_in_the_order_of_running(tmp_path: Path) -> None:
    path = tmp_path / "good.yaml"
    path.write_text(f"{GOOD}admission: [EventRateLimit, AlwaysPullImages]\n")

    assert load(path).admission == ("AlwaysPullImages", "EventRateLimit")


def test_the_issuers_are_the_text_of_a_file_beside_the_topology(tmp_path: Path) -> None:
    path = tmp_path / "good.yaml"
    path.write_text(f"{GOOD}authentication: issuers.yaml\n")
    (tmp_path / "issuers.yaml").write_text("kind: AuthenticationConfiguration\n")

    assert load(path).authentication == "kind: AuthenticationConfiguration\n"
    (tmp_path / "issuers.yaml").unlink()
    with pytest.raises(TopologyError, match=r'"issuers\.yaml" is not a file that can be read'):
        load(path)


def test_a_second_family_gives_each_machine_an_address_that_ends_as_its_first() -> None:
    cluster = load(TOPOLOGIES / "dual.yaml")

    assert [str(one) for one in cluster.addresses(cluster.machines[0])] == ["10.47.0.11", "fd00:47::b"]
    assert [str(one) for one in cluster.pod_ranges] == ["10.244.0.0/16", "fd00:244::/56"]
    assert [str(one) for one in cluster.service_ranges] == ["10.96.0.0/16", "fd00:96::/112"]


@pytest.mark.parametrize(
    ("families", "node", "pods", "services"),
    [
        ("", ["10.47.0.11", "fd00:47::b"], ["10.244.0.0/16", "fd00:244::/56"], "10.96.0.0/16"),
        ("[IPv6, IPv4]", ["fd00:47::b", "10.47.0.11"], ["fd00:244::/56", "10.244.0.0/16"], "fd00:96::/112"),
        ("[IPv6]", ["fd00:47::b"], ["fd00:244::/56"], "fd00:96::/112"),
    ],
)
def test_pods_and_services_have_the_families_that_are_asked_for_in_their_order(
    tmp_path: Path, families: str, node: list[str], pods: list[str], services: str
) -> None:
    path = tmp_path / "dual.yaml"
    text = (TOPOLOGIES / "dual.yaml").read_text()
    path.write_text(text + (f"families: {families}\n" if families else ""))

    cluster = load(path)

    assert [str(one) for one in cluster.addresses(cluster.machines[0])] == node
    assert [str(one) for one in cluster.pod_ranges] == pods
    assert str(cluster.service_ranges[0]) == services


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ("families: [IPv5]", '"families" is a list of IPv4 and IPv6, each once'),
        ("families: [IPv6, IPv6]", '"families" is a list of IPv4 and IPv6, each once'),
        ("families: IPv6", '"families" must be a list that is not empty'),
        ("families: [IPv4]", '"families" has no IPv6, and "ipv6" has networks of it'),
        ("families: [IPv6]\ningress: true", '"ingress" reaches pods by IPv4'),
        ("families: [IPv6]\nnode_local_dns: true", '"node_local_dns" reaches pods by IPv4'),
        (
            "families: [IPv6]\nload_balancer: {pools: [10.47.0.100-10.47.0.110]}",
            '"load_balancer" reaches pods by',
        ),
    ],
)
def test_what_the_families_do_not_allow_is_told_with_its_line(tmp_path: Path, more: str, said: str) -> None:
    path = tmp_path / "dual.yaml"
    text = (TOPOLOGIES / "dual.yaml").read_text()
    path.write_text(f"{text}{more}\n")

    with pytest.raises(TopologyError, match=re.escape(said)) as failed:
        load(path)

    assert f":{len(text.splitlines()) + 1}:" in str(failed.value)


SIX = """cluster: six
network: "fd00:1::/64"
machines:
  - {name: m1, address: "fd00:1::11", roles: [etcd, control-plane, worker]}
"""


def six(tmp_path: Path, more: str = "") -> Path:
    path = tmp_path / "six.yaml"
    path.write_text(f"{SIX}{more}\n")
    return path


def test_machines_may_have_ipv6_alone_and_so_do_their_pods_and_services(tmp_path: Path) -> None:
    cluster = load(six(tmp_path, 'load_balancer: {pools: ["fd00:1::100-fd00:1::110"]}\nnode_local_dns: true'))

    assert cluster.has_no_ipv4
    assert cluster.ip_families == ("IPv6",)
    assert str(cluster.gateway) == "fd00:1::1"
    assert [str(one) for one in (*cluster.pod_ranges, *cluster.service_ranges)] == [
        "fd00:244::/56",
        "fd00:96::/112",
    ]
    assert [str(one) for one in cluster.addresses(cluster.machines[0])] == ["fd00:1::11"]
    assert (cluster.api, cluster.machines[0].host) == ("[fd00:1::11]:6443", "[fd00:1::11]")
    assert load(six(tmp_path, "families: [IPv6]")).ip_families == ("IPv6",)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ("families: [IPv6, IPv4]", 'so are pods and services: leave out "families"'),
        (
            'ipv6: {network: "fd00:2::/64", pods: "fd00:3::/56", services: "fd00:4::/112"}',
            "is of IPv6 itself",
        ),
        ("pods: 10.244.0.0/16", "take a network of IPv6"),
        ("services: 10.96.0.0/16", "take a network of IPv6"),
        ('pods: "fd00:3::/64"', "has no room for a /64 for each node"),
        ('services: "fd00:4::/64"', "use /108 to /120"),
        ('pods: "fd00:1::/56"', "overlaps network fd00:1::/64"),
        ("vip: 10.0.0.10", "is outside the network fd00:1::/64"),
        ("load_balancer: {pools: [10.47.0.100-10.47.0.110]}", "is of IPv4, which this cluster does not have"),
    ],
)
def test_what_machines_without_ipv4_cannot_have_is_told_with_its_line(
    tmp_path: Path, more: str, said: str
) -> None:
    with pytest.raises(TopologyError, match=re.escape(said)) as failed:
        load(six(tmp_path, more))

    assert f":{len(SIX.splitlines()) + 1}:" in str(failed.value)


def test_networks_of_ipv6_beside_machines_of_ipv4_are_written_in_their_own_place(tmp_path: Path) -> None:
    path = tmp_path / "single.yaml"
    path.write_text((TOPOLOGIES / "single.yaml").read_text() + 'pods: "fd00:3::/56"\n')

    with pytest.raises(TopologyError, match='take a network of IPv4, or add "ipv6"'):
        load(path)


def test_a_family_without_networks_is_told(tmp_path: Path) -> None:
    path = tmp_path / "single.yaml"
    path.write_text((TOPOLOGIES / "single.yaml").read_text() + "families: [IPv4, IPv6]\n")

    with pytest.raises(TopologyError, match='IPv6 needs networks: add "ipv6"'):
        load(path)


@pytest.mark.parametrize("path", sorted(TOPOLOGIES.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_topology_that_we_ship_is_sound(path: Path) -> None:
    assert load(path).members


def test_the_lab_and_the_lab_of_the_tests_share_no_address() -> None:
    lab, test = load(TOPOLOGIES / "lab.yaml"), load(TOPOLOGIES / "test.yaml")

    assert not lab.network.overlaps(test.network)
    assert lab.name != test.name


@pytest.mark.parametrize(
    ("text", "life"),
    [("3m", timedelta(minutes=3)), ("12h", timedelta(hours=12)), ("90d", timedelta(days=90))],
)
def test_certificates_live_as_long_as_it_says(tmp_path: Path, text: str, life: timedelta) -> None:
    path = tmp_path / "good.yaml"
    path.write_text(f"{GOOD}certificate_life: {text}\n")

    assert load(path).certificate_life == life


MISTAKES = [
    pytest.param(
        "vip:", "certificate_life: 2m\nvip:", '3: "2m" is not a time such as "365d"', id="too short a life"
    ),
    pytest.param(
        "vip:", "certificate_life: 1y\nvip:", '3: "1y" is not a time such as "365d"', id="life of a year"
    ),
    pytest.param(
        "vip:",
        "admission: [AlwaysAdmit]\nvip:",
        '3: "admission" may have AlwaysPullImages, DenyServiceExternalIPs, EventRateLimit, and not "AlwaysAdmit"',
        id="admission plugin",
    ),
    pytest.param(
        "vip:", "vpi:", '3: unknown key "vpi" in the topology; it may have cluster, network', id="unknown key"
    ),
    pytest.param(
        "cpus: 4", "cpu: 4", '9: unknown key "cpu" in a machine; it may have name', id="unknown machine key"
    ),
    pytest.param(
        "vip: 10.8.0.10", "vip: 10.8.0.10\nvip: 10.8.0.9", '4: duplicate key "vip"', id="duplicate key"
    ),
    pytest.param(
        "name: b", "name: a", '7: duplicate name "a", first on line 6; rename one', id="duplicate name"
    ),
    pytest.param(
        "0.12", "0.11", "7: duplicate address 10.8.0.11, first on line 6; change one", id="duplicate address"
    ),
    pytest.param(
        "[worker]",
        "[worker, etcd]",
        "6: 4 etcd members bear no more failures than 3",
        id="even number of members",
    ),
    pytest.param(
        "10.8.0.10", "10.9.0.10", "3: VIP 10.9.0.10 is outside the network 10.8.0.0/24", id="VIP outside"
    ),
    pytest.param(
        "0.10", "0.21", "3: VIP 10.8.0.21 is the address of d; choose one that is free", id="VIP taken"
    ),
    pytest.param(
        "0.10", "0.1", "3: VIP 10.8.0.1 is the network's own or the gateway's", id="VIP is the gateway"
    ),
    pytest.param(
        "vip: 10.8.0.10", "domain: a.b", '1: 3 masters need a "vip"', id="no VIP for several masters"
    ),
    pytest.param(
        "0.21", "1.21", "9: address 10.8.1.21 is outside the network 10.8.0.0/24", id="address outside"
    ),
    pytest.param("0.21", "0.255", "9: address 10.8.0.255 is no machine's", id="broadcast address"),
    pytest.param("0.21", "0.1", "9: address 10.8.0.1 is the gateway's; take another", id="gateway's address"),
    pytest.param("0.21", "0.256", '9: "10.8.0.256" is not an address', id="no address"),
    pytest.param("0.0/24", "0.5/24", '2: "10.8.0.5/24" is not a network such as', id="host bits"),
    pytest.param("0.0/24", "0.0/31", "2: 10.8.0.0/31 has no room for machines", id="tiny network"),
    pytest.param(
        "network:",
        "pods: 10.8.0.0/16\nnetwork:",
        "2: pods 10.8.0.0/16 overlaps network 10.8.0.0/24",
        id="pods",
    ),
    pytest.param(
        "vip:", "services: 10.244.1.0/24\nvip:", "3: services 10.244.1.0/24 overlaps pods", id="services"
    ),
    pytest.param(
        "[worker]", "[slave]", '9: unknown role "slave"; a machine may have etcd', id="unknown role"
    ),
    pytest.param("[worker]", "[worker, worker]", '9: duplicate role "worker"', id="role twice"),
    pytest.param("[worker]", "[]", '9: "roles" must be a list that is not empty', id="no roles"),
    pytest.param("[worker]", "worker", '9: "roles" must be a list', id="roles as a word"),
    pytest.param("512MiB", "512", '9: "512" is not a size such as', id="size without a unit"),
    pytest.param("cpus: 4", "cpus: 0", '9: "0" is not a number of at least 1', id="no processor"),
    pytest.param("name: d", "name: D_1", '9: "D_1" is not a name of small letters', id="bad name"),
    pytest.param("name: d, ", "", '9: a machine lacks "name"; add it', id="no name"),
    pytest.param("network: 10.8.0.0/24\n", "", '1: the topology lacks "network"; add it', id="no network"),
    pytest.param(
        "cluster: good", "cluster: [good]", '1: "cluster" of the topology must be a single value', id="list"
    ),
    pytest.param(
        "cluster: good", "cluster: good\ndriver: kvm", '2: "kvm" is not one of lxc, qemu, none', id="driver"
    ),
    pytest.param(
        "cluster: good",
        "cluster: good\nproxy: userspace",
        '2: "userspace" is not one of iptables, ipvs, nftables',
        id="proxy",
    ),
    pytest.param(
        "cluster: good",
        "cluster: good\ncgroup_driver: v2",
        '2: "v2" is not one of cgroupfs, systemd',
        id="cgroup driver",
    ),
    pytest.param(
        "cluster: good",
        "cluster: good\ncontrol_plane: units",
        '2: "units" is not one of services, pods',
        id="control plane",
    ),
    pytest.param(
        "cluster: good", "cluster: good\nstorage: ceph", '2: "ceph" is not one of local, none', id="storage"
    ),
    pytest.param(
        "cluster: good",
        "cluster: good\nnetwork_policies: maybe",
        '2: "maybe" is not true or false',
        id="policies",
    ),
    pytest.param(
        "cluster: good",
        "cluster: good\nload_balancer: {pool: [10.8.0.99]}",
        '2: unknown key "pool"',
        id="pool",
    ),
    pytest.param(
        "cluster: good",
        "cluster: good\nload_balancer: {pools: [10.8.0.99/33]}",
        '2: load_balancer: "10.8.0.99/33" is no range',
        id="pool's range",
    ),
    pytest.param(
        "cluster: good",
        "cluster: good\nload_balancer: {pools: {a: [10.8.0.1-10.8.0.200]}}",
        '2: "10.8.0.1-10.8.0.200" of pool "a" has an address of',
        id="pool of machines' addresses",
    ),
    pytest.param(
        "cluster: good",
        "cluster: good\nload_balancer: {pools: {a: []}}",
        '2: "a" must be a list',
        id="no pool",
    ),
    pytest.param(
        "cluster: good", "cluster: good\ncloud: aws", '2: "aws" is not one of libvirt, none', id="cloud"
    ),
    pytest.param(
        "cluster: good",
        "cluster: good\ndriver: qemu\ncloud: libvirt",
        '3: masters of driver "qemu" cannot see their host',
        id="cloud of a host out of sight",
    ),
    pytest.param(
        "cluster: good",
        "cluster: good\ncloud: {hypervisors: {a: here}}",
        '2: "here" is not a URI',
        id="cloud's URI",
    ),
    pytest.param(
        "cluster: good",
        "cluster: good\ncloud: {hypervisors: {a/b: 'lxc:///'}}",
        '2: hypervisor "a/b" is not a name',
        id="cloud's hypervisor",
    ),
    pytest.param(
        "cluster: good",
        "cluster: good\ncloud: {region: x}",
        '2: cloud: "hypervisors" must be',
        id="cloud of nothing",
    ),
    pytest.param(
        "cluster: good",
        "cluster: good\ncloud_volumes: default",
        '2: "cloud_volumes" needs "cloud"',
        id="volumes of no cloud",
    ),
    pytest.param(
        "cluster: good",
        "cluster: good\ncloud: libvirt\ncloud_volumes: {pool: p, hypervisors: {b: 'lxc:///'}}",
        '3: "cloud_volumes" has the hypervisors b, and "cloud" has local',
        id="volumes of another cloud",
    ),
    pytest.param(
        "cluster: good",
        "cluster: good\ncloud: libvirt\ncloud_volumes: {pool: p}",
        '3: cloud_volumes: "hypervisors" must be',
        id="volumes of nothing",
    ),
    pytest.param(
        "cluster: good",
        "cluster: good\ncloud: libvirt\ncloud_volumes: a/b",
        '3: "a/b" is not a name',
        id="volumes' pool",
    ),
    pytest.param("cluster: good", "cluster: good\ningress: 1", '2: "1" is not true or false', id="ingress"),
    pytest.param(
        "cluster: good",
        "cluster: good\npod_network: calico",
        '2: "calico" is not one of kybern, none',
        id="pod network",
    ),
    pytest.param(
        "cluster: good", "cluster: good\nnode_local_dns: 1", '2: "1" is not true or false', id="node dns"
    ),
    pytest.param(
        "cluster: good", "cluster: good\ntrust_bundles: on", '2: "on" is not true or false', id="bundles"
    ),
    pytest.param(
        "cluster: good",
        'cluster: good\nipv6: {network: "fd00:1::/64", pods: "fd00:2::/56"}',
        '2: ipv6 lacks "services"',
        id="half a family",
    ),
    pytest.param(
        "cluster: good",
        'cluster: good\nipv6: {network: "fd00:1::/64", pods: "fd00:2::/64", services: "fd00:3::/112"}',
        "2: pods fd00:2::/64 has no room for a /64 for each node",
        id="pods of one node",
    ),
    pytest.param(
        "cluster: good",
        'cluster: good\nipv6: {network: "fd00:1::/64", pods: "fd00:2::/56", services: "fd00:3::/64"}',
        "2: services fd00:3::/64 is larger than an API server takes",
        id="too many services",
    ),
    pytest.param(
        "cluster: good",
        'cluster: good\nipv6: {network: "fd00:2::/64", pods: "fd00:2::/56", services: "fd00:3::/112"}',
        "2: pods fd00:2::/56 overlaps network fd00:2::/64",
        id="families that overlap",
    ),
    pytest.param("cluster: good", "cluster: good\napi_port: 99999", '2: "99999" is not a port', id="port"),
    pytest.param(
        "cluster: good", "cluster: good\ngateway: 10.7.0.1", "2: gateway 10.7.0.1 is outside", id="gateway"
    ),
    pytest.param("{memory: 2GiB}", "{firmware: efi}", '4: "efi" is not bios or uefi', id="firmware"),
    pytest.param(
        "{memory: 2GiB}", "{disks: [10]}", '4: "10" is not a size such as', id="disk without a unit"
    ),
    pytest.param(
        "{memory: 2GiB}",
        "{autostart: true}",
        '6: a has disks, firmware or autostart, which "driver: lxc" does not give',
        id="a container with firmware",
    ),
    pytest.param("cluster: good", "cluster: {", "3: not YAML: ", id="not YAML"),
    pytest.param(
        "{memory: 2GiB}", "2GiB", "4: defaults must be a mapping with the keys memory, cpus", id="defaults"
    ),
]


@pytest.mark.parametrize(("old", "new", "told"), MISTAKES)
def test_a_mistake_is_told_with_its_line_and_value(tmp_path: Path, old: str, new: str, told: str) -> None:
    assert refused(tmp_path, old, new).startswith(told)


def test_a_cluster_without_masters_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(
        "cluster: x\nnetwork: 10.8.0.0/24\nmachines:\n- {name: a, address: 10.8.0.2, roles: [etcd]}\n"
    )

    with pytest.raises(TopologyError, match=r'4: no machine has the role "control-plane"; at least one must'):
        load(path)


def test_a_file_that_is_not_there_or_empty_is_told(tmp_path: Path) -> None:
    with pytest.raises(TopologyError, match="there is no such topology file"):
        load(tmp_path / "none.yaml")

    (tmp_path / "empty.yaml").touch()
    with pytest.raises(TopologyError, match=r":1: the file is empty"):
        load(tmp_path / "empty.yaml")


@pytest.mark.parametrize(
    ("written", "pools"),
    [
        ("", ()),
        (
            "load_balancer: {pools: [10.9.0.1-10.9.0.4, 'fd00::/120']}",
            (("default", ("10.9.0.1-10.9.0.4", "fd00::/120")),),
        ),
        (
            "load_balancer: {pools: {a: [10.9.0.1], b: [10.9.1.0/24]}}",
            (("a", ("10.9.0.1",)), ("b", ("10.9.1.0/24",))),
        ),
    ],
)
def test_pools_are_one_list_or_lists_by_name(tmp_path: Path, written: str, pools: object) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(
        f"cluster: x\nnetwork: 10.8.0.0/24\n{written}\n"
        "machines:\n- {name: a, address: 10.8.0.2, roles: [etcd, control-plane, worker]}\n"
    )

    assert load(path).load_balancer == pools


@pytest.mark.parametrize(
    ("text", "cloud"),
    [
        ("cloud: libvirt", LOCAL),
        ("cloud: none", None),
        ("", None),
        (
            "cloud: {region: home, hypervisors: {a: 'qemu+tls://a/system'}}",
            Cloud((("a", "qemu+tls://a/system"),), "home"),
        ),
    ],
)
def test_the_cloud_is_libvirt_here_or_there(tmp_path: Path, text: str, cloud: Cloud | None) -> None:
    path = tmp_path / "good.yaml"
    path.write_text(GOOD.replace("cluster: good", f"cluster: good\n{text}"))
    assert load(path).cloud == cloud


def test_masters_that_are_containers_see_the_sockets_of_their_host(tmp_path: Path) -> None:
    path = tmp_path / "good.yaml"
    path.write_text(GOOD.replace("cluster: good", "cluster: good\ncloud: libvirt"))
    cluster = load(path)
    seen = {one.machine.name: "/srv/libvirt" in Lxc(print).xml(one) for one in wanted(cluster)}
    assert seen == {one.name: one.is_master for one in cluster.machines}
    assert not any(one.sees_libvirt for one in wanted(replace(cluster, cloud=None)))
