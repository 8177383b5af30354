"""What the kubelet finds out, and whether it can begin at all, before its parts are made."""

import asyncio
import ipaddress
import logging
from collections.abc import Iterator
from pathlib import Path

from kybern.daemon.run import Fatal
from kybern.kubelet import cgroup_names, cgroups, machine, node_status, user_namespaces
from kybern.kubelet.cgroups import Cgroups, Room
from kybern.kubelet.configuration import reserved_cpus
from kybern.kubelet.cpus import ledger
from kybern.kubelet.cpus.layout import Layout
from kybern.kubelet.cpus.options import options as cpu_options
from kybern.kubelet.cpus.pinning import Pinning, Rules
from kybern.kubelet.cri import Runtime
from kybern.kubelet.devices.allocation import Devices
from kybern.kubelet.machine import Hardware
from kybern.kubelet.memory import reservation
from kybern.kubelet.memory.checkpoint import FILE
from kybern.kubelet.memory.holding import Memory, Unusable
from kybern.kubelet.memory.ledger import State, untouched
from kybern.kubelet.names import Resolver, read_resolv_conf
from kybern.kubelet.node import own_addresses
from kybern.kubelet.node_status import Reserved
from kybern.kubelet.settings import Settings
from kybern.kubelet.slices import Slices
from kybern.kubelet.swap import LIMITED, NONE, Swap
from kybern.kubelet.topology.alignment import Alignment
from kybern.kubelet.topology.hints import Numa
from kybern.kubelet.topology.merge import Policy
from kybern.kubelet.topology.options import options
from kybern.kubelet.user_namespaces import Ids
from kybern.machinery.quantity import parse

log = logging.getLogger(__name__)


def addresses(settings: Settings) -> tuple[str, ...]:
    """The node's own; raises Fatal for one that is none."""
    for text in settings.node_ip:
        try:
            ipaddress.ip_address(text)
        except ValueError as problem:
            raise Fatal(f'--node-ip "{text}" is no IP address') from problem
    return settings.node_ip or own_addresses()


def resolver(path: str) -> Resolver:
    if not path:
        return Resolver()
    try:
        return read_resolv_conf(Path(path).read_text())
    except OSError as problem:
        log.warning("cannot read %s: %s", path, problem.strerror)
        return Resolver()


def max_pods(settings: Settings, cpus: int) -> int:
    by_core = settings.pods_per_core * cpus
    return min(by_core, settings.max_pods) if by_core else settings.max_pods


def hardware(settings: Settings, root: Path) -> Hardware:
    """What the machine has; raises Fatal when it swaps, or has old cgroups, and must not."""
    if settings.fail_cgroup_v1 and not cgroups.is_v2():
        raise Fatal(
            "kubelet is configured to not run on a host using cgroup v1. cgroup v1 support is in maintenance mode"
        )
    root.mkdir(mode=0o750, parents=True, exist_ok=True)
    found = machine.hardware(root)
    if found.swap and settings.fail_swap_on:
        raise Fatal(
            "running with swap on is not supported: turn swap off, or set failSwapOn (--fail-swap-on) to false"
        )
    return found


def tree(settings: Settings, period: int, huge: tuple[str, ...], pinning: Pinning) -> Cgroups:
    """The cgroups of pods, by the driver that is configured. ``period`` in microseconds; ``huge`` as of ``Cgroups``.

    A pod that has CPUs of its own may use all of their time (upstream's DisableCPUQuotaWithExclusiveCPUs).
    """
    slices = Slices(asyncio.get_running_loop()) if settings.cgroup_driver == "systemd" else None

    def unlimited(uid: str) -> bool:
        return not settings.cpu_cfs_quota or uid in pinning.holders()

    parent = cgroup_names.root_of(settings.cgroup_driver, settings.cgroup_root)
    found = Cgroups(parent, period=period, pids=settings.pod_pids, slices=slices, huge=huge)
    found.unlimited = unlimited
    return found


def together(settings: Settings, found: Hardware, reserved: Reserved) -> Room:
    """What pods may have together: all of the machine where what is reserved is not kept.

    A limit it is all the same: without one their cgroup would weigh no more than any other.
    """
    kept = reserved if "pods" in settings.enforce else Reserved()
    return node_status.together(found, kept, machine.processes()[1])


def reservations(settings: Settings) -> Iterator[tuple[str, str, Room]]:
    """The parts of the system whose cgroups are to be limited to what was reserved for them. Pure."""
    for part, cgroup, amounts in (
        ("system", settings.system_cgroup, settings.system_reserved),
        ("kube", settings.kube_cgroup, settings.kube_reserved),
    ):
        cpu = parse(amounts["cpu"]).milli() if "cpu" in amounts else 0
        memory, pids = (parse(amounts[name]).value() if name in amounts else 0 for name in ("memory", "pid"))
        if f"{part}-reserved" in settings.enforce:
            yield part, cgroup, Room(cpu, memory, pids)
        elif f"{part}-reserved-compressible" in settings.enforce:
            yield part, cgroup, Room(cpu, 0)


def enforce(settings: Settings, cgroups: Cgroups) -> tuple[str, ...]:
    """Limit the system's cgroups, where that was asked for; what is to be told of it.

    Blocking; raises Fatal for one that is not there.
    """
    told = []
    for part, name, room in reservations(settings):
        try:
            cgroups.reserve(name, room)
        except FileNotFoundError as problem:
            raise Fatal(
                f"cannot enforce what is reserved: {problem}; make it, or take it out of "
                "enforceNodeAllocatable"
            ) from problem
        told.append(f"Updated limits on {part} reserved cgroup {name}")
    return tuple(told)


def ids(settings: Settings, cpus: int) -> Ids:
    """The ids that are for pods' own users. Blocking; raises Fatal where there are not enough."""
    most = max_pods(settings, cpus)
    try:
        found = user_namespaces.own(settings.ids_per_pod, most)
        user_namespaces.check(found, most)
    except ValueError as problem:
        raise Fatal(
            f"cannot give pods users of their own: {problem}; look at userNamespaces.idsPerPod, maxPods and the "
            "ids of the user kubelet in /etc/subuid and /etc/subgid"
        ) from problem
    return found


def swap(settings: Settings, found: Hardware, *, v2: bool) -> Swap:
    """How containers may swap."""
    behavior = settings.swap_behavior or NONE
    if behavior == LIMITED and not v2:
        log.warning("containers get no swap: LimitedSwap needs cgroups of version 2")
    return Swap(behavior, found.swap, found.memory, machine.limits_swap())


def apportionment(settings: Settings, root: Path, runtime: Runtime, kept: Reserved) -> Alignment:
    """What gives pods the node's devices, CPUs and memory; raises Fatal for a machine that does not let them be aligned."""
    numa = machine.numa()
    devices = Devices(root / "device-plugins", numa)
    pinning, memory = _pinning(settings, root, runtime, numa), _memory(settings, root, numa, kept)
    return Alignment(devices, pinning, memory, _policy(settings, numa), numa)


def _memory(settings: Settings, root: Path, numa: Numa, kept: Reserved) -> Memory:
    fresh: State = {}
    try:
        if settings.memory_policy == "Static":
            found = machine.hardware(root)
            totals = machine.numa_memory(found=found)
            held = node_status.held(found, kept)
            fresh = untouched(totals, reservation.by_node(settings.reserved_memory, totals, held))
        return Memory(root / FILE, settings.memory_policy, fresh, numa)
    except (ValueError, Unusable) as problem:
        raise Fatal(f"cannot give memory of NUMA nodes to pods: {problem}") from problem


def _pinning(settings: Settings, root: Path, runtime: Runtime, numa: Numa) -> Pinning:
    if settings.cpu_policy != "static":
        return Pinning(root / "cpus.json", Rules(), runtime)
    layout = Layout(machine.cpu_places(), numa, machine.last_caches())
    told = cpu_options(settings.cpu_options, settings.gates)
    if told.by_socket and len(set(layout.sockets.values())) > len(set(layout.nodes.values())):
        raise Fatal(
            "cannot give CPUs to pods: Align by socket is not compatible with hardware where number of sockets "
            "are more than number of NUMA"
        )
    named = ledger.parse(settings.reserved_cpus)
    reserved = named or ledger.reserve(layout, min(reserved_cpus(settings), len(layout.places)), told)
    return Pinning(root / "cpus.json", Rules(layout, reserved, told), runtime)


def _policy(settings: Settings, numa: Numa) -> Policy:
    told = options(settings.topology_options)
    if settings.topology_policy != "none" and len(numa.nodes) > told.most:
        raise Fatal(f"cannot align pods: unsupported on machines with more than {told.most} NUMA Nodes")
    if told.closest and any(len(numa.distances.get(node, ())) < len(numa.nodes) for node in numa.nodes):
        raise Fatal("cannot prefer the closest NUMA nodes: the kernel does not tell how far they are apart")
    return Policy(settings.topology_policy, settings.topology_scope, told.closest)
