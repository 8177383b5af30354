"""Each check once passing and once not, from what machines say."""

from collections.abc import Mapping
from dataclasses import replace

import pytest

from kybern.machines.parts import answers
from kybern.machines.preflight.checks import CHECKS, findings
from kybern.machines.preflight.ports import listeners
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
}
OWN = {
    "master-1": {"machine-id": "a", "macs": "52:54:00:00:00:01", "addresses": "127.0.0.1/8\n10.9.0.11/24"},
    "worker-1": {"machine-id": "b", "macs": "52:54:00:00:00:02", "addresses": "127.0.0.1/8\n10.9.0.21/24"},
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
