"""What the kernel brings: as a module that is loaded or can be, or built in. Pure."""

from kybern.machines.preflight.record import Looked, Outcome, failure, passed, warning
from kybern.machines.topology import Cluster

# By a function of each, which /proc/kallsyms names also where it is built in and leaves no other trace.
WITNESSES = {
    "overlay": "ovl_lookup",
    "br_netfilter": "br_nf_pre_routing",
    "nf_conntrack": "nf_conntrack_in",
    "nf_tables": "nf_tables_newtable",
    "ip_vs": "ip_vs_conn_new",
    "ip_vs_rr": "ip_vs_rr_schedule",
    "ip_set": "ip_set_create",
    "vxlan": "vxlan_setup",
}
NEEDED = ("overlay", "br_netfilter", "nf_conntrack", "nf_tables")
VIRTUAL_SERVERS = ("ip_vs", "ip_vs_rr", "ip_set")
# Nodes reach each other by it where routes do not lead.
WANTED = ("vxlan",)


def needed(cluster: Cluster) -> tuple[str, ...]:
    return (*NEEDED, *VIRTUAL_SERVERS) if cluster.proxy_mode == "ipvs" else NEEDED


def asked(cluster: Cluster) -> str:
    """Names, one a line, of those that are neither there nor can be loaded."""
    tries = (
        f"[ -d /sys/module/{name} ] || modprobe -qn {name} || grep -qw {WITNESSES[name]} /proc/kallsyms || echo {name}"
        for name in (*needed(cluster), *WANTED)
    )
    return "; ".join((*tries, "true"))


def modules(looked: Looked) -> Outcome:
    absent = looked.facts.lines("modules")
    where = "on its host" if looked.facts.contained else "with the package of the kernel's modules"
    if lacking := [each for each in needed(looked.cluster) if each in absent]:
        return failure(
            f"the kernel has no {', '.join(lacking)}", f"load them {where}: modprobe -a {' '.join(lacking)}"
        )
    if lacking := [each for each in WANTED if each in absent]:
        return warning(
            f"the kernel has no {', '.join(lacking)}", "nodes will reach each other by routes alone"
        )
    return passed("the kernel has what is needed")
