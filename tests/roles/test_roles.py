"""Every role: what it does to a new machine, that it then comes to rest, and what a changed setting leads to."""

import re
from collections.abc import Callable
from dataclasses import replace
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import pytest

from kybern.cni import conflist
from kybern.cni import frames as cni_frames
from kybern.cni import plan as cni_plan
from kybern.machines.packages import wanted_packages
from kybern.machines.topology import Cluster, Machine
from kybern.policies import table as policies
from kybern.proxy import transaction
from kybern.proxy.ipvs import node
from roles import facts, netboot, node_dns
from roles.etcd import HEALTHY, etcd
from roles.firewall import firewall
from roles.loadbalancer import loadbalancer
from roles.pki import pki
from roles.reset import ABOVE, BELOW, LINKS, ROUTES, TABLES, reset
from roles.system import settings, system
from tests.roles.harness import FakeMachine, Run, apply, plan

ROOT = Path(__file__).parents[2]
ROLES = (system, firewall, pki, etcd, loadbalancer)


def prepared(cluster: Cluster, machine: Machine) -> FakeMachine:
    """A machine with its packages and users, as the image and the system role leave it."""
    return FakeMachine(machine.name, packages=set(wanted_packages(cluster, machine)))


def finished(role: Callable[..., Any], cluster: Cluster, machine: Machine) -> FakeMachine:
    fake = prepared(cluster, machine)
    apply(role, cluster, machine, fake)
    return fake


@pytest.mark.parametrize("role", ROLES)
def test_a_finished_machine_is_left_alone(role: Callable[..., Any], cluster: Cluster) -> None:
    fake = finished(role, cluster, cluster.masters[0])
    fake.commands.clear()

    assert plan(role, cluster, cluster.masters[0], fake) == []
    assert apply(role, cluster, cluster.masters[0], fake) == []
    assert fake.commands == []


@pytest.mark.parametrize("role", [system, firewall, pki, loadbalancer])
def test_a_finished_worker_is_left_alone(role: Callable[..., Any], cluster: Cluster, worker: Machine) -> None:
    fake = finished(role, cluster, worker)

    assert plan(role, cluster, worker, fake) == []


def test_a_new_machine_gets_its_ground(cluster: Cluster) -> None:
    machine = cluster.masters[0]

    assert plan(system, cluster, machine, prepared(cluster, machine)) == [
        "system | Users",
        "system | Names and settings",
        "system | Applied",
    ]


def test_a_machine_without_packages_gets_them_first(cluster: Cluster) -> None:
    assert plan(system, cluster, cluster.masters[0])[0] == "system | Packages"


def test_a_worker_needs_no_users(cluster: Cluster, worker: Machine) -> None:
    assert "system | Users" not in plan(system, cluster, worker)


def test_another_machine_in_the_cluster_changes_names_and_restarts_nothing(cluster: Cluster) -> None:
    machine = cluster.masters[0]
    fake = finished(system, cluster, machine)
    grown = replace(
        cluster, machines=(*cluster.machines, replace(machine, name="w2", address=IPv4Address("10.1.0.22")))
    )

    assert plan(system, grown, machine, fake) == ["system | Names and settings"]


def test_settings_that_somebody_undid_are_made_again(cluster: Cluster, worker: Machine) -> None:
    fake = finished(system, cluster, worker)
    fake.dead.add("kybern-machine.service")

    assert apply(system, cluster, worker, fake) == ["system | Applied"]
    assert plan(system, cluster, worker, fake) == []


def test_a_new_firewall_is_shipped_and_then_put_in_force(cluster: Cluster, worker: Machine) -> None:
    assert plan(firewall, cluster, worker) == ["firewall | Rules", "firewall | In force"]


def test_a_flushed_firewall_is_put_in_force_again(cluster: Cluster, worker: Machine) -> None:
    fake = finished(firewall, cluster, worker)
    fake.dead.add("kybern-firewall.service")

    assert plan(firewall, cluster, worker, fake) == ["firewall | In force"]


def test_a_new_member_is_started_and_waited_for_but_not_restarted(cluster: Cluster) -> None:
    fake = prepared(cluster, cluster.masters[0])

    assert apply(etcd, cluster, cluster.masters[0], fake) == [
        "etcd | Files",
        "etcd | Started",
        "etcd | Healthy",
        "etcd | No second bootstrap",
        "etcd | Members remembered",
    ]
    assert not [command for command in fake.commands if "systemctl restart" in command]


def test_only_the_first_member_remembers_the_others(cluster: Cluster) -> None:
    run = Run([FakeMachine(member.name) for member in cluster.masters])
    run.prepare(etcd, cluster, cluster.masters)

    remembers = ["etcd | Members remembered" in run.changing(host) for host in run.hosts]
    assert remembers == [True, False, False]


def test_a_member_that_a_run_leaves_out_is_not_remembered(cluster: Cluster, state: Path) -> None:
    """It has not been seen healthy: it may be dead, and another machine in its place has to join."""
    (state / "test/etcd-bootstrapped").write_text("m1\nm2\n")
    run = Run([prepared(cluster, member) for member in cluster.masters[:2]])
    run.prepare(etcd, cluster, cluster.masters[:2])
    run.execute()

    assert (state / "test/etcd-bootstrapped").read_text() == "m1\nm2\n"


def test_members_start_a_new_cluster_once_and_never_again(cluster: Cluster, state: Path) -> None:
    fakes = [prepared(cluster, member) for member in cluster.masters]
    run = Run(fakes)
    run.prepare(etcd, cluster, cluster.masters)
    run.execute()

    assert fakes[0].contents["/etc/kybern/etcd.env"] == b"ETCD_INITIAL_CLUSTER_STATE=existing\n"
    assert (state / "test/etcd-bootstrapped").read_text() == "m1\nm2\nm3\n"
    wiped = prepared(cluster, cluster.masters[1])
    apply(etcd, cluster, cluster.masters[1], wiped)
    assert wiped.contents["/etc/kybern/etcd.env"] == b"ETCD_INITIAL_CLUSTER_STATE=existing\n"
    assert "/var/lib/kybern/etcd-was-member" in wiped.tree


def test_a_first_start_does_not_look_like_a_lost_disk(cluster: Cluster) -> None:
    fake = prepared(cluster, cluster.masters[0])
    fake.fails = lambda command: "systemctl" in command
    run = Run([fake])
    run.prepare(etcd, cluster, [cluster.masters[0]])
    with pytest.raises(Exception, match="No hosts remaining"):
        run.execute()

    assert "/var/lib/kybern/etcd-was-member" not in fake.tree


def test_a_run_that_died_before_the_members_were_healthy_bootstraps_again(cluster: Cluster) -> None:
    fake = prepared(cluster, cluster.masters[0])
    fake.fails = lambda command: "curl" in command and "until" in command
    run = Run([fake])
    run.prepare(etcd, cluster, [cluster.masters[0]])
    with pytest.raises(Exception, match="No hosts remaining"):
        run.execute()

    assert fake.contents["/etc/kybern/etcd.env"].startswith(b"ETCD_INITIAL_CLUSTER_STATE=new\n")


def test_another_member_is_no_reason_to_restart(cluster: Cluster) -> None:
    machine = cluster.masters[0]
    fake = finished(etcd, cluster, machine)
    moved = replace(cluster.masters[1], address=IPv4Address("10.1.0.99"))

    assert plan(etcd, replace(cluster, machines=(machine, moved, *cluster.machines[2:])), machine, fake) == []


def test_a_changed_member_is_restarted_behind_a_gate(cluster: Cluster) -> None:
    machine = cluster.masters[0]
    fake = finished(etcd, cluster, machine)
    fake.commands.clear()
    unit = fake.units["etcd.service"]
    fake.units["etcd.service"] = replace(unit, stamp="of another unit file")

    names = apply(etcd, cluster, machine, fake)

    assert "etcd | Changed members restarted, one at a time" in names
    restart = next(
        command
        for command in fake.commands
        if "systemctl restart" in command or "--no-block restart" in command
    )
    assert HEALTHY in restart


def test_a_master_has_both_balancer_and_address_and_a_worker_only_the_balancer(
    cluster: Cluster, worker: Machine
) -> None:
    held = finished(loadbalancer, cluster, cluster.masters[0])
    node = finished(loadbalancer, cluster, worker)

    assert set(held.units) == {"haproxy.service", "keepalived.service"}
    assert set(node.units) == {"haproxy.service"}


def test_a_lone_master_balances_nothing(single: Cluster) -> None:
    assert plan(loadbalancer, single, single.masters[0]) == []


def test_files_that_changed_without_a_restart_are_caught_up(cluster: Cluster, worker: Machine) -> None:
    """A run that died between shipping and restarting: the next one has nothing to ship, and restarts."""
    fake = finished(loadbalancer, cluster, worker)
    state = fake.units["haproxy.service"]
    fake.units["haproxy.service"] = facts.UnitState(
        state.loaded, state.active, state.enabled, False, "0" * 64
    )

    assert apply(loadbalancer, cluster, worker, fake) == ["loadbalancer | Running"]


def test_keys_are_readable_by_their_daemon_alone(cluster: Cluster) -> None:
    fake = finished(pki, cluster, cluster.masters[0])

    keys = {path: found for path, found in fake.tree.items() if path.endswith(".key")}
    assert len(keys) == 10
    assert {found.mode for path, found in keys.items() if not path.endswith("/sa.key")} == {"600"}
    assert fake.tree["/etc/kubernetes/pki/sa.key"].mode == "640"
    assert keys["/etc/kubernetes/pki/etcd/peer.key"].user == "etcd"
    assert keys["/etc/kubernetes/pki/apiserver.key"].user == "kube-apiserver"


def test_no_authority_s_key_reaches_a_machine(cluster: Cluster, state: Path) -> None:
    fake = finished(pki, cluster, cluster.masters[0])

    authorities = [path.read_bytes() for path in (state / "test/pki").glob("**/*ca.key")]
    assert len(authorities) == 3
    assert not set(authorities) & set(fake.contents.values())


def test_a_machine_that_is_no_master_any_more_loses_a_master_s_keys(cluster: Cluster) -> None:
    machine = cluster.masters[0]
    fake = finished(pki, cluster, machine)
    demoted = replace(machine, roles=frozenset({"worker"}))

    apply(pki, cluster, demoted, fake)

    assert "/etc/kubernetes/pki/apiserver.key" not in fake.tree
    assert "/etc/kubernetes/pki/ca.crt" in fake.tree


def test_a_reset_machine_is_reset_once(cluster: Cluster) -> None:
    fake = FakeMachine("m1")

    assert plan(reset, cluster, cluster.masters[0], fake) == ["reset | Everything of the cluster"]
    fake.true.update(fake.asked)
    assert plan(reset, cluster, cluster.masters[0], fake) == []


def test_a_reset_of_all_members_forgets_them_and_one_of_a_part_does_not(
    cluster: Cluster, state: Path
) -> None:
    note = state / "test/etcd-bootstrapped"
    note.write_text("m1\nm2\nm3\n")
    members = cluster.masters
    run = Run([FakeMachine(member.name) for member in members])
    run.state.active_hosts.discard(run.hosts[2])
    run.prepare(reset, cluster, members)
    run.execute()
    assert note.exists()

    run = Run([FakeMachine(member.name) for member in members])
    run.prepare(reset, cluster, members)
    run.execute()
    assert not note.exists()


def test_reset_knows_every_unit_that_a_role_makes() -> None:
    made = {
        name
        for path in (ROOT / "roles").glob("*.py")
        for name in re.findall(r'"([a-z-]+\.service)"', path.read_text())
    }

    # Who installs machines is none of the cluster's, and has a verb of its own to be rid of it (netboot --off).
    assert made - {"systemd-journald.service", *netboot.UNITS} <= {*ABOVE, *BELOW}


def test_virtual_servers_get_their_program_modules_and_settings(cluster: Cluster, worker: Machine) -> None:
    ipvs = replace(cluster, proxy_mode="ipvs")
    fake = finished(system, ipvs, worker)
    unit = fake.contents["/etc/systemd/system/kybern-machine.service"].decode()

    assert "ipset" in set(wanted_packages(ipvs, worker)) - set(wanted_packages(cluster, worker))
    assert " ip_vs ip_vs_rr ip_vs_wrr " in unit
    assert "-net.ipv4.vs.conntrack = 1" in fake.contents["/etc/sysctl.d/90-kybern.conf"].decode()
    assert plan(system, ipvs, worker, fake) == []


def test_reset_knows_the_tables_of_nftables() -> None:
    wanted = {f"{family} {transaction.NAME}" for family in ("ip", "ip6")}
    wanted |= {f"{family} {policies.NAME}" for family in (policies.FAMILY, "bridge")}
    wanted.add(f"bridge {cni_frames.NAME}")
    assert set(TABLES) == wanted


def test_reset_knows_our_links_and_routes() -> None:
    assert {conflist.BRIDGE, cni_plan.DEVICE, node_dns.LINK, node.DEVICE} == set(LINKS)
    written = (ROOT / "src/kybern/cni/netlink.py").read_text()
    assert all(
        f"{name} = {number} " in written
        for name, number in zip(("PROTOCOL", "SERVICES"), ROUTES, strict=True)
    )


def test_a_node_keeps_flows_and_routes_its_loopback_address_as_its_proxy_asks(
    cluster: Cluster, worker: Machine
) -> None:
    iptables, other = (
        settings(replace(cluster, proxy_mode=mode), worker).items() for mode in ("iptables", "nftables")
    )

    assert iptables - other == {("net.ipv4.conf.all.route_localnet", "1")}
    assert ("net.netfilter.nf_conntrack_tcp_timeout_close_wait", "3600") in other
