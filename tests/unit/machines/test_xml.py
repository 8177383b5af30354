from dataclasses import replace
from ipaddress import IPv4Interface, ip_address, ip_network
from pathlib import Path
from xml.etree import ElementTree as ET

from kybern.machines import network, xml
from kybern.machines.moments import Taken
from kybern.machines.plan import wanted
from kybern.machines.topology import Attached, Cluster


def at(element: ET.Element, path: str) -> ET.Element:
    found = element.find(path)
    assert found is not None, path
    return found


def test_a_container_has_its_address_its_root_and_what_lies_over_it(cluster: Cluster) -> None:
    target = wanted(cluster)[0]

    made = ET.fromstring(xml.lxc(target, Path("/m/root"), {"/var/lib/etcd": Path("/m/etcd")}, {"A": "b=c"}))

    assert made.findtext("name") == "small-master-1"
    assert made.findtext("memory") == "2048"
    sources = [
        (at(each, "source").get("dir"), at(each, "target").get("dir")) for each in made.iter("filesystem")
    ]
    assert sources == [("/m/root", "/"), ("/m/etcd", "/var/lib/etcd")]
    assert at(made, "devices/interface/ip").attrib == {
        "address": "10.9.0.11",
        "family": "ipv4",
        "prefix": "24",
    }
    assert at(made, "devices/interface/route").get("gateway") == "10.9.0.1"
    assert at(made, "devices/interface/source").get("network") == "kybern-small"
    assert (at(made, "os/initenv").get("name"), made.findtext("os/initenv")) == ("A", "b=c")


def test_discovery_reads_back_what_a_definition_says(cluster: Cluster) -> None:
    for target in wanted(cluster):
        found = xml.defined(xml.lxc(target, Path("/r"), {}, {}), active=True)

        assert found is not None
        assert (found.cluster, found.machine, found.name) == ("small", target.machine.name, target.name)
        assert (found.identity, found.size, found.roles) == (
            target.identity,
            target.size,
            target.machine.roles,
        )
        assert (found.address, found.active) == (str(target.machine.address), True)


def test_a_domain_of_somebody_else_is_not_ours() -> None:
    assert xml.defined("<domain type='kvm'><name>x</name><metadata/></domain>", active=True) is None


def test_an_emulated_machine_has_a_processor_that_boots(cluster: Cluster) -> None:
    boot = xml.Boot(Path("/k"), Path("/i"), "root=/dev/vda")
    disks = [xml.Drive("vda", Path("/d")), xml.Drive("vdb", Path("/s"), "raw")]

    emulated = ET.fromstring(xml.qemu(wanted(cluster)[0], "qemu", boot, disks, Path("/l")))
    fast = ET.fromstring(xml.qemu(wanted(cluster)[0], "kvm", boot, disks, Path("/l")))

    assert emulated.get("type") == "qemu"
    assert emulated.findtext("cpu/model") == "qemu64"
    required = {found.get("name") for found in emulated.findall("cpu/feature[@policy='require']")}
    assert {"cx16", "sse4.2", "popcnt"} <= required, "what numpy is built for"
    assert at(fast, "cpu").get("mode") == "host-passthrough"
    assert [each.get("dev") for each in emulated.findall("devices/disk/target")] == ["vda", "vdb"]
    read_only = [each.find("readonly") is not None for each in emulated.findall("devices/disk")]
    assert read_only == [False, True], "an archive has no snapshots"
    assert emulated.find("os[@firmware]") is None
    assert emulated.findtext("os/cmdline") == "root=/dev/vda clearcpuid=cx16", "what the kernel must not use"
    assert fast.findtext("os/cmdline") == "root=/dev/vda"


def test_a_virtual_machine_has_the_disks_and_the_firmware_of_its_topology(cluster: Cluster) -> None:
    target = wanted(cluster)[0]
    target = replace(
        target, machine=replace(target.machine, disks=(1024, 2048), firmware="uefi", autostart=True)
    )
    drives = [xml.Drive("vdc", Path("/data-1.qcow2"), serial="data-1")]

    made = xml.qemu(target, "kvm", xml.Boot(Path("/k"), Path("/i"), ""), drives, Path("/l"))

    assert at(ET.fromstring(made), "os").get("firmware") == "efi"
    assert ET.fromstring(made).findtext("devices/disk/serial") == "data-1"
    found = xml.defined(made, active=True)
    assert found is not None
    assert found.size == (2048, 2, 10240, 1024, 2048)
    assert (found.firmware, found.autostart) == ("uefi", True)


NETWORKS = (Attached("bridge", "br1", IPv4Interface("10.50.0.11/24")), Attached("network", "isolated"))


def test_a_virtual_machine_has_its_further_networks_behind_the_first(cluster: Cluster) -> None:
    target = wanted(replace(cluster, bridge="br0"))[0]
    target = replace(target, machine=replace(target.machine, networks=NETWORKS))

    made = ET.fromstring(xml.qemu(target, "kvm", xml.Boot(Path("/k"), Path("/i"), ""), [], None))

    found = made.findall("devices/interface")
    assert [each.get("type") for each in found] == ["bridge", "bridge", "network"]
    sources = [at(each, "source").attrib for each in found]
    assert sources == [{"bridge": "br0"}, {"bridge": "br1"}, {"network": "isolated"}]
    macs = [at(each, "mac").get("address") for each in found]
    assert macs == [target.mac, target.mac_of(1), target.mac_of(2)]
    assert made.find("devices/serial/log") is None, "files of another host are not ours"


def test_a_container_is_given_the_addresses_of_its_further_networks(cluster: Cluster) -> None:
    target = wanted(cluster)[0]
    target = replace(target, machine=replace(target.machine, networks=NETWORKS))

    _, second, third = ET.fromstring(xml.lxc(target, Path("/r"), {}, {})).findall("devices/interface")

    assert at(second, "ip").attrib == {"address": "10.50.0.11", "family": "ipv4", "prefix": "24"}
    assert [at(each, "guest").get("dev") for each in (second, third)] == ["eth1", "eth2"]
    assert third.find("ip") is None


def test_machines_without_further_networks_are_those_that_they_were(cluster: Cluster) -> None:
    """Their identity is in the metadata of domains that older releases made: another would replace them."""
    target = wanted(cluster)[0]

    assert target.identity == "90b3ec1a7064f957"
    assert wanted(replace(cluster, bridge="br0"))[0].identity != target.identity


def test_a_snapshot_is_known_by_what_libvirt_says_of_it() -> None:
    assert ET.fromstring(xml.snapshot("before")).findtext("name") == "before"
    said = (
        "<domainsnapshot><name>before</name><state>{}</state><creationTime>7</creationTime></domainsnapshot>"
    )
    assert xml.taken(said.format("shutoff")) == Taken("before", 7, ran=False)
    assert xml.taken(said.format("paused")) == Taken("before", 7, ran=True)


def test_a_network_is_a_bridge_with_a_short_name_and_the_gateways_address(cluster: Cluster) -> None:
    definition = xml.network("a-cluster-with-a-rather-long-name", cluster.network, cluster.gateway)

    made = ET.fromstring(definition)

    assert len(at(made, "bridge").attrib["name"]) <= 15
    assert at(made, "dns").get("enable") == "no"
    assert made.find("ip/dhcp") is None
    assert network.of_xml(definition) == cluster.network


def test_a_network_of_ipv6_is_masqueraded_and_read_back(cluster: Cluster) -> None:
    cidr, gateway = ip_network("fd00:1::/64"), ip_address("fd00:1::1")

    definition = xml.network("six", cidr, gateway)

    assert '<forward mode="nat"><nat ipv6="yes" /></forward>' in definition
    assert '<ip family="ipv6" address="fd00:1::1" prefix="64" />' in definition
    assert network.of_xml(definition) == cidr


def test_a_container_may_have_an_address_of_ipv6(cluster: Cluster) -> None:
    machine = replace(cluster.machines[0], address=ip_address("fd00:1::11"))
    six = replace(
        cluster, network=ip_network("fd00:1::/64"), gateway=ip_address("fd00:1::1"), machines=(machine,)
    )

    definition = xml.lxc(wanted(six)[0], Path("/root"), {}, {})

    assert '<ip address="fd00:1::11" family="ipv6" prefix="64" />' in definition
    assert '<route family="ipv6" address="::" prefix="0" gateway="fd00:1::1" />' in definition
