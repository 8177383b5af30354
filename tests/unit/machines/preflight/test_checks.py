"""Each check once passing and once not, from what machines say."""

import subprocess
from collections.abc import Mapping
from dataclasses import replace
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from kybern.machines.parts import answers
from kybern.machines.preflight import etcd_disk
from kybern.machines.preflight.checks import CHECKS, findings
from kybern.machines.preflight.ports import listeners
from kybern.machines.preflight.questions import commands, script
from kybern.machines.preflight.record import Facts, Level
from kybern.machines.topology import Cluster

WELL = {
    "clock-first": "1000.2",
    "clock-last": "1000.8",
    "release": 'ID=debian\nVERSION_ID="13"',
    "kernel": "6.12.1-amd64",
    "cgroups": "cgroup2fs",
    "controllers": "cpuset cpu io memory pids",
    "python": "3.13",
    "memory": "MemTotal: 2097152 kB",
    "disk": "20000",
    "synchronised": "yes",
    "container": "none",
    "fdatasync": "1.25",
    "confinement": "apparmor",
}
OWN = {
    "master-1": {
        "hostname": "master-1",
        "machine-id": "a",
        "macs": "52:54:00:00:00:01",
        "addresses": "127.0.0.1/8\n10.9.0.11/24",
    },
    "worker-1": {
        "hostname": "worker-1",
        "machine-id": "b",
        "macs": "52:54:00:00:00:02",
        "addresses": "127.0.0.1/8\n10.9.0.21/24",
    },
}
ETCD = 'tcp LISTEN 0 4096 *:2379 *:* users:(("etcd",pid=7,fd=3))'


def machines(changed: Mapping[str, str] | None = None) -> dict[str, Facts]:
    """Two machines that are well, but for what is changed on the master."""
    found = {name: Facts({**WELL, **own}, 1000.0, 1001.0) for name, own in OWN.items()}
    master = found["master-1"]
    return {**found, "master-1": replace(master, texts={**master.texts, **(changed or {})})}


def test_machines_that_are_well_pass_everything(cluster: Cluster) -> None:
    found = findings(cluster, machines())

    assert [one for one in found if one.level is not Level.PASSED] == []
    assert len(found) == len(CHECKS) * len(cluster.machines)


@pytest.mark.parametrize(
    ("check", "changed", "level", "says"),
    [
        ("distribution", {"release": "ID=debian\nVERSION_ID=12"}, "failure", "debian 12 is not supported"),
        ("distribution", {"release": ""}, "failure", "? ? is not supported"),
        ("python", {"python": "3.11"}, "failure", "Python 3.11 is too old"),
        ("python", {"python": "bash: python3: command not found"}, "failure", "there is no python3"),
        ("kernel", {"kernel": "4.18.0"}, "failure", "older than 4.19"),
        ("cgroups", {"controllers": "cpu cpuset pids"}, "failure", "without memory"),
        ("cgroups", {"cgroups": "tmpfs"}, "warning", "version 1"),
        ("swap", {"swaps": "/dev/vda2 partition 1048572 0 -2"}, "warning", "swap is on: /dev/vda2"),
        (
            "ranges and domain",
            {"settled": "SETTLED cluster-cidr 10.9.9.0/24\nSETTLED clusterDomain other"},
            "failure",
            "pods are 10.9.9.0/24 there",
        ),
        ("machine-id", {"machine-id": "b"}, "failure", "that of worker-1, too"),
        (
            "hardware address",
            {"macs": "52:54:00:00:00:02"},
            "failure",
            "52:54:00:00:00:02 is that of worker-1",
        ),
        ("address", {"addresses": "10.9.0.12/24"}, "failure", "does not have 10.9.0.11, but 10.9.0.12"),
        (
            "ports",
            {"sockets": ETCD, "processes": "7 other.service etcd"},
            "failure",
            "tcp 2379 for etcd by etcd",
        ),
        ("ports", {"sockets": "tcp LISTEN 0 1 127.0.0.1:10250 *:*"}, "failure", "by another program"),
        ("ports", {"sockets": "tcp LISTEN 0 1 127.0.0.1:10262 *:*"}, "failure", "for kybern-pod-network"),
        ("ports", {"sockets": "tcp LISTEN 0 1 *:9153 *:*"}, "failure", "for kybern-dns"),
        ("peers", {"unreachable": "10.9.0.21"}, "failure", "does not reach 10.9.0.21"),
        ("memory", {"memory": "MemTotal: 1000000 kB"}, "failure", "976 MiB of memory, and 1024"),
        ("disk", {"disk": "2047"}, "failure", "2047 MiB free"),
        ("disk", {"disk": "10239"}, "warning", "10239 MiB free"),
        ("disk", {"disk": "df: no such file"}, "warning", "not known"),
        ("clock", {"clock-first": "998.5"}, "warning", "at least 1.5 s"),
        ("clock", {"clock-last": "1062.5"}, "failure", "at least 61.5 s"),
        ("clock", {"clock-last": ""}, "warning", "could not be read"),
        ("time service", {"synchronised": "no"}, "warning", "no time service"),
        ("modules", {"modules": "overlay\nvxlan"}, "failure", "the kernel has no overlay"),
        ("modules", {"modules": "vxlan"}, "warning", "the kernel has no vxlan"),
        ("confinement", {"confinement": "selinux"}, "failure", "SELinux is enforcing"),
        ("hostname", {"hostname": "worker-1"}, "failure", "another machine of the topology"),
        ("hostname", {"hostname": "Web_1"}, "warning", "no DNS name"),
        (
            "hostname",
            {"hostname": "web.example.com"},
            "warning",
            "is called web.example.com, and its node master-1",
        ),
        ("leftovers", {"leftovers": "unit k3s.service"}, "failure", "runs k3s.service of another cluster"),
        (
            "leftovers",
            {"leftovers": "path /var/lib/etcd/member/"},
            "failure",
            "/var/lib/etcd/member/ (data of etcd)",
        ),
        ("leftovers", {"leftovers": "unit docker.service"}, "warning", "runs docker.service"),
        ("firewalls", {"firewalls": "active ufw\ndrop FORWARD"}, "failure", "ufw is active"),
        ("firewalls", {"firewalls": "drop inet mine"}, "failure", "lets through: inet mine"),
        ("package sources", {"sources": "name deb.example.org"}, "failure", "no address for deb.example.org"),
        (
            "package sources",
            {"sources": "reach deb.example.org:80"},
            "failure",
            "does not reach deb.example.org:80",
        ),
        (
            "package sources",
            {"sources": "reach a:80", "packages": "installed"},
            "warning",
            "does not reach a:80",
        ),
        ("etcd's disk", {"fdatasync": "10.00"}, "warning", "within 10.0 ms"),
        ("etcd's disk", {"fdatasync": "400"}, "failure", "within 400.0 ms"),
        ("etcd's disk", {"fdatasync": "no python3"}, "warning", "could not be measured"),
    ],
)
def test_what_is_wrong_is_told_first_with_what_to_do(
    cluster: Cluster, check: str, changed: Mapping[str, str], level: str, says: str
) -> None:
    first = next(one for one in findings(cluster, machines(changed)) if one.machine == "master-1")

    assert (first.check, first.level) == (check, level)
    assert says in first.said
    assert first.remedy


@pytest.mark.parametrize(
    "changed",
    [
        {"sockets": ETCD, "processes": "7 etcd.service etcd", "ours": "etcd.service\nkubelet.service"},
        {"sockets": "udp UNCONN 0 0 127.0.0.53%lo:53 0.0.0.0:*"},
    ],
)
def test_ports_of_our_own_daemons_and_on_other_addresses_are_no_hindrance(
    cluster: Cluster, changed: Mapping[str, str]
) -> None:
    ports = next(one for one in findings(cluster, machines(changed)) if one.check == "ports")

    assert ports.level is Level.PASSED
    assert ("own daemons" in ports.said) == ("ours" in changed)


def test_a_silent_machine_is_one_failure_and_the_others_are_judged(cluster: Cluster) -> None:
    found = findings(cluster, {**machines(), "master-1": Facts()})

    assert [(one.check, one.machine) for one in found if one.level is Level.FAILURE] == [("ssh", "master-1")]
    assert sum(one.machine == "worker-1" for one in found) == len(CHECKS)


def test_a_machine_that_nobody_reaches_is_told_once(cluster: Cluster) -> None:
    well = machines({"unreachable": "10.9.0.21"})

    found = findings(cluster, {**well, "worker-1": Facts()})

    assert [(one.check, one.machine) for one in found if one.level is Level.FAILURE] == [("ssh", "worker-1")]


def test_a_container_gets_its_control_groups_from_its_host(cluster: Cluster) -> None:
    first = findings(cluster, machines({"cgroups": "tmpfs", "container": "lxc"}))[0]

    assert (first.check, first.remedy) == (
        "cgroups",
        "boot its host with systemd.unified_cgroup_hierarchy=1",
    )


def test_a_listener_has_its_address_without_its_link() -> None:
    (found,) = listeners(["tcp LISTEN 0 9 [::1]:53 [::]:*"], [])

    assert (found.address, found.number, found.process) == ("[::1]", 53, "")


def test_parts_of_an_answer_are_found_again() -> None:
    assert dict(answers("login banner\nKYBERN-PART a\none\ntwo\n\nKYBERN-PART b\n")) == {
        "a": "one\ntwo\n",
        "b": "",
    }


def verdict(
    cluster: Cluster, check: str, everybody: dict[str, Facts], machine: str = "master-1"
) -> tuple[str, str]:
    one = next(one for one in findings(cluster, everybody) if (one.machine, one.check) == (machine, check))
    return one.level, one.said


@pytest.mark.parametrize(
    ("said", "ours", "level", "says"),
    [
        ("near", "", "passed", "10.9.0.10 is free"),
        ("", "", "failure", "is on none of its networks"),
        ("near\nhere", "", "failure", "is an address of its own"),
        ("near\n52:54:00:00:00:99", "", "failure", "is in use by 52:54:00:00:00:99"),
        ("near\n52:54:00:00:00:99", "keepalived.service", "passed", "is this cluster's already"),
    ],
)
def test_the_address_of_the_api_is_free_and_near(
    cluster: Cluster, said: str, ours: str, level: str, says: str
) -> None:
    several = replace(cluster, vip=IPv4Address("10.9.0.10"))

    found = verdict(several, "virtual address", machines({"vip": said, "ours": ours}))

    assert (found[0], says in found[1]) == (level, True), found
    assert verdict(several, "virtual address", machines(), "worker-1")[0] == "passed"


def test_ipvs_needs_more_of_the_kernel(cluster: Cluster) -> None:
    lacking = machines({"modules": "ip_vs\nip_set"})

    assert verdict(cluster, "modules", lacking)[0] == "passed"
    assert verdict(replace(cluster, proxy_mode="ipvs"), "modules", lacking) == (
        "failure",
        "the kernel has no ip_vs, ip_set",
    )


@pytest.mark.parametrize(("ahead", "level"), [(0.5, "passed"), (3, "warning"), (75, "failure")])
def test_clocks_that_differ_are_told_once_for_each_pair(cluster: Cluster, ahead: float, level: str) -> None:
    well = machines()
    theirs = {"clock-first": str(1000.2 + ahead), "clock-last": str(1000.8 + ahead)}
    worker = replace(well["worker-1"], texts={**well["worker-1"].texts, **theirs})

    found = verdict(cluster, "clocks", {**well, "worker-1": worker}, "worker-1")

    assert found[0] == level
    assert level == "passed" or "from that of master-1" in found[1]
    assert verdict(cluster, "clocks", {**well, "worker-1": worker})[0] == "passed"


def test_machines_of_this_cluster_have_no_leftovers(cluster: Cluster) -> None:
    own = machines({"leftovers": "unit kubelet.service", "ours": "kubelet.service"})

    assert verdict(cluster, "leftovers", own) == ("passed", "is of this cluster already")


def test_two_machines_of_one_name_are_told(cluster: Cluster) -> None:
    well = machines({"hostname": "debian"})
    worker = replace(well["worker-1"], texts={**well["worker-1"].texts, "hostname": "debian"})

    found = verdict(cluster, "hostname", {**well, "worker-1": worker})

    assert found == ("warning", "is called debian, as worker-1 is")


def test_a_user_without_sudo_gets_one_clear_line(cluster: Cluster) -> None:
    found = findings(replace(cluster, ssh_user="ann"), {**machines(), "master-1": Facts(refused=True)})

    (one,) = [one for one in found if one.machine == "master-1"]
    assert (one.check, one.level) == ("sudo", "failure")
    assert one.said == "ann may not become root without a password"
    assert "ann ALL=(ALL) NOPASSWD: ALL" in one.remedy


def test_each_fact_that_is_judged_is_asked_for_and_the_script_is_one_of_bash(cluster: Cluster) -> None:
    several = replace(cluster, vip=IPv4Address("10.9.0.10"))
    text = script(several, several.masters[0])

    done = subprocess.run(["bash", "-n"], input=text, text=True, capture_output=True, timeout=60, check=False)

    assert (done.returncode, done.stderr) == (0, "")
    for name, command in commands(several, several.masters[0]).items():
        inner = subprocess.run(["bash", "-n", "-c", command], capture_output=True, timeout=60, check=False)
        assert inner.returncode == 0, name
    assert set(WELL) <= set(commands(several, several.masters[0]))


def test_the_disk_is_measured_by_what_is_asked(tmp_path: Path) -> None:
    asked = etcd_disk.ASKED.replace("/var/lib", str(tmp_path)).replace("300", "20")

    done = subprocess.run(["bash", "-c", asked], capture_output=True, text=True, timeout=30, check=True)

    assert float(done.stdout) > 0
    assert list(tmp_path.iterdir()) == []
