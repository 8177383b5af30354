"""What each machine is asked for a report: one script, whose answer comes in named parts. Pure.

A part that a machine cannot give holds the words in which it refused; nothing is changed on it.
"""

from collections.abc import Mapping

from kybern.machines.control_plane import NAMESPACE, manifest
from kybern.machines.parts import script as asking
from kybern.machines.standing import ETCDCTL, pods, units
from kybern.machines.topology import Cluster, Machine

LINES = 400  # of the journal, for each unit
ALWAYS = {
    "system": "uname -a; cat /etc/os-release; uptime; date -u +%FT%TZ; timedatectl show 2>/dev/null",
    "memory": "cat /proc/meminfo; cat /proc/pressure/cpu /proc/pressure/memory /proc/pressure/io 2>/dev/null",
    "processes": "ps -eo pid,ppid,user,pcpu,rss,etimes,stat,comm --sort=-rss | head -n 80",
    "disks": "df -hT -x tmpfs -x overlay; df -hi -x tmpfs -x overlay",
    "links": "ip -d -s link; ip address",
    "routes": "ip route show table all; ip -6 route show table all; ip rule",
    "sockets": "ss -lntup; ss -s",
    "firewall": "iptables-save 2>&1; ip6tables-save 2>&1",
    "nftables": "nft -s list ruleset | head -n 4000",
    "sysctl": "sysctl net.ipv4.ip_forward net.ipv6.conf.all.forwarding net.bridge vm.overcommit_memory fs.inotify 2>&1",
    "packages": "dpkg-query -W containerd runc etcd-server etcd-client haproxy keepalived iptables nftables 2>&1",
    "releases": "ls -l /opt/kybern 2>&1",
    "failed": "systemctl list-units --failed --no-legend --plain",
    "kernel": "dmesg --level=emerg,alert,crit,err,warn 2>&1 | tail -n 200",
}


def parts(cluster: Cluster, machine: Machine) -> Mapping[str, str]:
    """The commands by the name of their part, which is a file of the report."""
    found = dict(ALWAYS)
    for unit in units(cluster, machine):
        name = unit.removesuffix(".service")
        found[f"journal/{name}"] = f"journalctl --no-pager -o short-iso -n {LINES} -u {unit}"
        found[f"units/{name}"] = f"systemctl status --no-pager -n 0 {unit}; systemctl cat {unit}"
    for name in pods(cluster, machine):
        logs = f"ls -tr /var/log/pods/{NAMESPACE}_{name}-*/*/*.log | tail -n 3"
        found[f"journal/{name}"] = f"{logs} | xargs -r tail -q -n {LINES}"
        found[f"units/{name}"] = f"cat {manifest(name)}"
    if machine.is_node:
        found["containers"] = "ctr --address /run/containerd/containerd.sock -n k8s.io tasks list 2>&1"
        found["cni"] = "head -n 200 /etc/cni/net.d/* 2>&1"
    if machine.is_etcd:
        what = "'member list' 'endpoint status' 'alarm list'"
        found["etcd"] = f"for what in {what}; do {ETCDCTL} $what 2>&1; done"
    return found


def script(cluster: Cluster, machine: Machine) -> str:
    """Asks for all parts. None keeps the others from being told."""
    return asking(parts(cluster, machine))
