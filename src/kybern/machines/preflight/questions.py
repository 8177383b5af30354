"""What a machine is asked before a deploy, as one script. Nothing is changed on it. Pure."""

from collections.abc import Mapping

from kybern.machines.parts import script as asking
from kybern.machines.preflight import (
    confinement,
    etcd_disk,
    firewalls,
    leftovers,
    modules,
    ranges,
    sources,
    virtual_address,
)
from kybern.machines.topology import Cluster, Machine

# "PID UNIT NAME" of each process that listens. A pod of the control plane is the kubelet's.
LISTENING = (
    "for pid in $(ss -Hlntup | grep -o 'pid=[0-9]*' | cut -d= -f2 | sort -u); do "
    "unit=$(grep -o '[^/]*\\.service' /proc/$pid/cgroup | tail -n 1); "
    '[ -n "$unit" ] || ! grep -q /opt/kybern/package- /proc/$pid/cmdline || unit=kubelet.service; '
    'echo "$pid ${unit:--} $(cat /proc/$pid/comm)"; done'
)


def commands(cluster: Cluster, machine: Machine) -> Mapping[str, str]:
    """The commands by the name of their fact. The clock is asked first and last."""
    others = " ".join(str(each.address) for each in cluster.machines if each != machine)
    return {
        "clock-first": "date +%s.%N",
        "release": "cat /etc/os-release",
        "kernel": "uname -r",
        "cgroups": "stat -fc %T /sys/fs/cgroup",
        "controllers": "cat /sys/fs/cgroup/cgroup.controllers || cut -f1 /proc/cgroups",
        "modules": modules.asked(cluster),
        "python": "python3 -c 'import sys; print(\"%d.%d\" % sys.version_info[:2])'",
        "memory": "cat /proc/meminfo",
        "swaps": "tail -n +2 /proc/swaps",
        "disk": "df -Pm /var/lib | tail -n 1 | tr -s ' ' | cut -d' ' -f4",
        "machine-id": "cat /etc/machine-id",
        "macs": "for link in /sys/class/net/*; do "
        "[ -e $link/device ] || [ ${link##*/} = eth0 ] && cat $link/address; done; true",
        "addresses": f"ip -o -{cluster.network.version} address show | tr -s ' ' | cut -d' ' -f4",
        "hostname": "cat /proc/sys/kernel/hostname",
        "leftovers": leftovers.ASKED,
        "settled": ranges.ASKED,
        "firewalls": firewalls.ASKED,
        "confinement": confinement.ASKED,
        "vip": virtual_address.asked(cluster) if cluster.vip and machine.is_master else "true",
        "sources": sources.ASKED,
        "packages": "dpkg-query -W -f '${db:Status-Status}' containerd 2>/dev/null | grep -x installed; true",
        "fdatasync": etcd_disk.ASKED if machine.is_etcd else "true",
        "sockets": "ss -Hlntup",
        "processes": LISTENING,
        "ours": "cd /etc/systemd/system && for each in *.service.d/kybern.conf; do "
        "[ -e $each ] && echo ${each%.d/kybern.conf}; done; true",
        "synchronised": "timedatectl show -P NTPSynchronized",
        "container": "systemd-detect-virt -c; true",
        "unreachable": f"for each in {others}; do timeout 2 bash -c 'exec 3<>/dev/tcp/$0/22' $each 2>/dev/null "
        "|| echo $each; done; true"
        if others
        else "true",
        "clock-last": "date +%s.%N",
    }


def script(cluster: Cluster, machine: Machine) -> str:
    # Each silent machine costs the others two seconds.
    return asking(commands(cluster, machine), seconds=10 + 2 * len(cluster.machines))
