"""One check: put pods on all nodes, try all ways, look where those that failed end, and take all of it away again.

What holds: the namespace is removed however the check ends, also when it is interrupted or the API server fails in between.
A way counts as failed when it failed to the end of SETTLE seconds, since rules for new Services take a moment to arrive; it
is then tried once more between two looks at the nodes, so that the counters of dropped packets tell about this way.
An API server that is not reached is asked again for a while: its address may be moving from one master to another.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from kybern.api.core_v1 import Namespace, Node, Pod, Service, ServiceAccount
from kybern.api.discovery_v1 import EndpointSlice
from kybern.client.verbs import Verbs
from kybern.client.watch import Added, Deleted, Modified, Synced, watch
from kybern.machinery.errors import AlreadyExists, ApiError, NotFound, ServiceUnavailable, Timeout
from kybern.machinery.struct import Object
from kybern.machines.errors import MachineError
from kybern.reach import objects, probes, seen
from kybern.reach.explain import Finding, Names, Path, explain
from kybern.reach.machines import Machines
from kybern.reach.probes import Place, Probe, Result, Way
from kybern.reach.seen import Seen

LOG = logging.getLogger(__name__)
START = 45.0  # seconds for the pods to run
SETTLE = 12.0
CLEAN = 30.0
LOOK = 20.0
AGAIN = 20.0  # seconds in which the API server is asked again
PAUSE = 1.0  # between two times
ROUND = 25.0  # seconds for all probes of one node, which run together

type Step = Callable[[str, str], None]


@dataclass(frozen=True, slots=True)
class Report:
    """What came of each probe, and where those that failed stayed."""

    results: tuple[Result, ...]
    findings: Mapping[Probe, tuple[Finding, ...]]

    @property
    def failed(self) -> tuple[Result, ...]:
        return tuple(one for one in self.results if one.error)


@dataclass(slots=True)
class Check:
    """``namespace`` is one that nobody has; ``outside`` are addresses with ports, 0 for an echo request."""

    client: Verbs
    machines: Machines
    namespace: str
    outside: Sequence[tuple[str, int]]
    step: Step
    _places: dict[tuple[str, int], Place] = field(default_factory=dict)

    async def run(self) -> Report:
        try:
            await self._placed(await self._nodes())
            return await self._tried()
        finally:
            # An interruption must not leave pods behind, so this part is not to be interrupted by the same.
            await asyncio.shield(asyncio.ensure_future(self._clean()))

    async def _nodes(self) -> list[str]:
        """The machines of the topology that are nodes of the cluster, too."""
        found, _ = await _insisting(lambda: self.client.list(Node))
        known = {one.metadata.name for one in found}
        nodes = [one.name for one in self.machines.cluster.machines if one.is_node and one.name in known]
        if not nodes:
            raise MachineError(
                f"the cluster at this API has no node of the topology {self.machines.cluster.name}; is it the right one?"
            )
        return nodes

    async def _placed(self, nodes: Sequence[str]) -> None:
        self.step("check", f"starting pods on {len(nodes)} nodes")
        await self._create(Namespace, objects.namespace(self.namespace))
        await self._appears(ServiceAccount, lambda one: one.metadata.name == "default")
        made: list[tuple[type[Object], dict[str, Any]]] = [
            *((Pod, objects.asker(self.namespace, node)) for node in nodes),
            *((Pod, objects.server(self.namespace, node)) for node in nodes),
            *((Service, objects.service(self.namespace, node)) for node in nodes),
        ]
        async with asyncio.TaskGroup() as tasks:
            for kind, one in made:
                tasks.create_task(self._create(kind, one))
        pods = await self._running(2 * len(nodes))
        services, _ = await _insisting(lambda: self.client.list(Service, self.namespace))
        addresses = {one.metadata.name: one.spec.cluster_ips or (one.spec.cluster_ip,) for one in services}
        versions = [int(family.removeprefix("IPv")) for family in self.machines.cluster.ip_families]
        self._places = {
            (node, version): self._place(node, version, pods, addresses)
            for version in versions
            for node in nodes
        }

    async def _create(self, kind: type[Object], content: Mapping[str, object]) -> None:
        path = (
            f"/api/v1/namespaces/{self.namespace}/{kind.plural}" if kind.namespaced else "/api/v1/namespaces"
        )
        try:
            await _insisting(lambda: self.client.request("POST", path, msgspec.json.encode(content)))
        except AlreadyExists:
            # Nobody else has this namespace: it is what the first try made before its answer was lost.
            LOG.debug("%s was made at the first try", path)

    async def _appears(self, kind: type[ServiceAccount], wanted: Callable[[ServiceAccount], bool]) -> None:
        try:
            async with asyncio.timeout(START):
                async for change in watch(self.client, kind, self.namespace):
                    items = change.items if isinstance(change, Synced) else (change.object,)
                    if any(map(wanted, items)):
                        return
        except TimeoutError:
            raise MachineError(
                f"namespace {self.namespace} has no account after {START:.0f} s; does a controller manager lead?"
            ) from None

    async def _running(self, count: int) -> dict[str, Pod]:
        """The pods by name, once all run, or START seconds later."""
        found: dict[str, Pod] = {}
        try:
            async with asyncio.timeout(START):
                async for change in watch(self.client, Pod, self.namespace):
                    match change:
                        case Synced(items):
                            found = {one.metadata.name: one for one in items}
                        case Added(one) | Modified(one, _):
                            found[one.metadata.name] = one
                        case Deleted(one):
                            found.pop(one.metadata.name, None)
                    if len(found) == count and all(map(_runs, found.values())):
                        break
        except TimeoutError:
            LOG.info("not all pods run after %.0f s", START)
        return found

    def _place(
        self, node: str, version: int, pods: Mapping[str, Pod], services: Mapping[str, Sequence[str]]
    ) -> Place:
        asker, server = pods.get(f"ask-{node}"), pods.get(f"serve-{node}")
        cluster = self.machines.cluster
        machine = next(one for one in cluster.machines if one.name == node)
        return Place(
            node,
            _of(version, map(str, cluster.addresses(machine))),
            _container(asker),
            _of(version, _addresses(asker)),
            _container(server),
            _of(version, _addresses(server)),
            _of(version, services.get(f"to-{node}", ())),
            objects.name_of(self.namespace, node, cluster.cluster_domain),
            next((text for one in (asker, server) if (text := _trouble(one))), ""),
            version,
            str(machine.address),
        )

    async def _tried(self) -> Report:
        wanted = probes.wanted(tuple(self._places.values()), self.outside)
        results = {one.probe: one for one in await self._round(wanted)}
        ends = time.monotonic() + SETTLE
        while (failed := _failed(results)) and time.monotonic() < ends:
            self.step("check", f"{len(failed)} of {len(wanted)} ways do not answer yet")
            results |= {one.probe: one for one in await self._round(failed)}
        if not failed:
            return Report(tuple(results[one] for one in wanted), {})
        self.step("check", f"looking why {len(failed)} ways do not answer")
        before = await self._look(failed)
        results |= {one.probe: one for one in await self._round(failed)}
        after = await self._look(failed)
        names = await self._names(after)
        findings = {one: explain(self._path(results[one], before, after, names)) for one in _failed(results)}
        return Report(tuple(results[one] for one in wanted), findings)

    async def _round(self, wanted: Sequence[Probe]) -> tuple[Result, ...]:
        """All of these probes, on all nodes at once."""
        by_source: dict[str, list[Probe]] = {}
        for one in wanted:
            by_source.setdefault(one.source, []).append(one)
        async with asyncio.TaskGroup() as tasks:
            running = [
                (several, tasks.create_task(self._on(node, probes.script(self._at(node), several))))
                for node, several in by_source.items()
            ]
            # Names that are refused at once would else be asked for again at once.
            tasks.create_task(asyncio.sleep(1))
        return tuple(
            result
            for several, task in running
            for result in probes.results(self._places, several, task.result())
        )

    def _at(self, node: str) -> Place:
        """What is the same of a node in every version of IP."""
        return next(place for (name, _), place in self._places.items() if name == node)

    async def _on(self, node: str, script: str) -> str:
        return await self.machines.run(node, script, ROUND)

    async def _look(self, failed: Iterable[Probe]) -> dict[str, Seen]:
        """All nodes that failed ways begin or end at, and the masters, where name servers are."""
        nodes = {name for name, _ in self._places}
        ends = {name for one in failed for name in (one.source, one.target) if name in nodes}
        masters = {one.name for one in self.machines.cluster.masters}
        places = self._places.values()
        addresses = [text for one in places for text in (one.address, one.asker_ip, one.server_ip)]
        addresses += [address for address, _ in self.outside]

        async def look(node: str) -> Seen:
            place = self._at(node) if node in nodes else None
            containers = (place.asker, place.server) if place else ()
            return seen.read(await self.machines.run(node, seen.script(addresses, containers), LOOK))

        async with asyncio.TaskGroup() as tasks:
            looks = {node: tasks.create_task(look(node)) for node in sorted(ends | masters)}
        return {node: task.result() for node, task in looks.items()}

    async def _names(self, found: Mapping[str, Seen]) -> Names:
        try:
            service = await self.client.get(Service, "kube-dns", "kube-system")
        except NotFound:
            return Names()
        slices, _ = await self.client.list(
            EndpointSlice, "kube-system", label_selector="kubernetes.io/service-name=kube-dns"
        )
        addresses = {
            address for one in slices for endpoint in one.endpoints for address in endpoint.addresses
        }
        masters = (one.name for one in self.machines.cluster.masters if one.name in found)
        states = {name: found[name].units.get("kybern-dns", "not to be seen") for name in masters}
        return Names(service.spec.cluster_ip, tuple(sorted(addresses)), states)

    def _path(
        self, failed: Result, before: Mapping[str, Seen], after: Mapping[str, Seen], names: Names
    ) -> Path:
        source, target = failed.probe.source, failed.probe.target
        unseen = Seen(answered=False)
        there, then = after.get(target, unseen), before.get(target, unseen)
        if failed.probe.way is Way.OUTSIDE:
            there = then = Seen()
        return Path(
            failed,
            self._places[source, failed.probe.version],
            self._places.get((target, failed.probe.version)),
            after.get(source, unseen),
            there,
            before.get(source, unseen),
            then,
            names,
        )

    async def _clean(self) -> None:
        """Pods first and at once: on a node that is down nobody would tell of their end."""
        self.step("check", "taking the pods away")
        try:
            async with asyncio.timeout(CLEAN):
                options = {"kind": "DeleteOptions", "apiVersion": "v1", "gracePeriodSeconds": 0}
                at = f"/api/v1/namespaces/{self.namespace}"
                await _insisting(lambda: self.client.request("DELETE", f"{at}/pods", options))
                await _insisting(lambda: self.client.request("DELETE", at))
        except NotFound:
            LOG.debug("nothing was made yet")
        except (ApiError, TimeoutError) as problem:
            raise MachineError(
                f"cannot remove namespace {self.namespace}: {problem or 'no time'}; remove it with kubectl delete namespace"
            ) from problem


async def _insisting[T](ask: Callable[[], Awaitable[T]]) -> T:
    """The answer, asked for until somebody is there to give it, or AGAIN is over."""
    ends = time.monotonic() + AGAIN
    while True:
        try:
            return await ask()
        except (ServiceUnavailable, Timeout):
            if time.monotonic() > ends:
                raise
        await asyncio.sleep(PAUSE)


def _failed(results: Mapping[Probe, Result]) -> list[Probe]:
    return [probe for probe, one in results.items() if one.error]


def _runs(pod: Pod) -> bool:
    return pod.status.phase == "Running" and bool(pod.status.pod_ip)


def _of(version: int, addresses: Iterable[str]) -> str:
    """The first address of a version of IP; "" for none."""
    return next((one for one in addresses if probes.version_of(one) == version), "")


def _addresses(pod: Pod | None) -> tuple[str, ...]:
    if pod is None:
        return ()
    return tuple(one.ip for one in pod.status.pod_ips) or (pod.status.pod_ip,)


def _container(pod: Pod | None) -> str:
    """The container's id, as containerd has it."""
    statuses = pod.status.container_statuses if pod else ()
    return statuses[0].container_id.rpartition("/")[2] if statuses else ""


def _trouble(pod: Pod | None) -> str:
    """Why a pod does not run, in the kubelet's words."""
    if pod is None:
        return "the probe pod was not made"
    if _runs(pod):
        return ""
    states = (one.state for one in pod.status.container_statuses)
    waiting = next((one.waiting for one in states if one and one.waiting), None)
    reason = f"{waiting.reason} {waiting.message}".strip() if waiting else pod.status.phase
    return f"the probe pod on {pod.spec.node_name} does not run: {reason or 'the kubelet has not taken it'}"
