"""The kubelet as a whole: its parts made from its settings, and one TaskGroup."""

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from kybern.api.core_v1 import Service
from kybern.api.declared_features import of_kubelet
from kybern.client.allowance import Allowance
from kybern.client.cache import Cache
from kybern.client.events import Recorder
from kybern.client.kubeconfig import Config
from kybern.client.rest import Client
from kybern.client.verbs import Verbs
from kybern.daemon import heap
from kybern.daemon.run import Fatal, alive, ready
from kybern.kubelet import (
    gates,
    iptables_hint,
    machine,
    node_status,
    numbers,
    outset,
    static_url,
    sysctls,
    voice,
)
from kybern.kubelet.admit import Room
from kybern.kubelet.agent import Agent
from kybern.kubelet.collect import Collector
from kybern.kubelet.configuration import lines
from kybern.kubelet.cri import Runtime, RuntimeFailure
from kybern.kubelet.csi.allocatable import Allocatable
from kybern.kubelet.csi.mounter import Mounter
from kybern.kubelet.csi.registry import Registry
from kybern.kubelet.dra.drivers import Drivers
from kybern.kubelet.dra.preparing import Claims
from kybern.kubelet.eviction.evictor import Evictor, Rules, World
from kybern.kubelet.eviction.signals import thresholds
from kybern.kubelet.images import providers
from kybern.kubelet.images.pull import Images, most_at_once
from kybern.kubelet.images.pulls import Pulls
from kybern.kubelet.images.rights import Policy
from kybern.kubelet.node import Cloud, NodeKeeper, Wishes, own_hostname
from kybern.kubelet.node_status import Reserved
from kybern.kubelet.objects import ApiObjects
from kybern.kubelet.oom import OutOfMemory
from kybern.kubelet.pleg import Watcher
from kybern.kubelet.pod_resources.serving import PodResources
from kybern.kubelet.publish import Publisher
from kybern.kubelet.rotation import Rotator
from kybern.kubelet.security import Profiles
from kybern.kubelet.serving import Served, servers
from kybern.kubelet.settings import Settings
from kybern.kubelet.shutdown.groups import periods
from kybern.kubelet.shutdown.logind import logind
from kybern.kubelet.shutdown.shutdown import Shutdown
from kybern.kubelet.shutdown.shutdown import World as Going
from kybern.kubelet.sources import Self
from kybern.kubelet.spec import Machine
from kybern.kubelet.stats.measure import Measure
from kybern.kubelet.stats.system import System
from kybern.kubelet.surroundings import Surroundings
from kybern.kubelet.trust_bundles import TrustBundles
from kybern.kubelet.user_namespaces import UserNamespaces
from kybern.kubelet.voice import Voice
from kybern.kubelet.volumes.kept import Kept
from kybern.machinery.quantity import parse

log = logging.getLogger(__name__)

_RUNTIME_PATIENCE = 120.0
_DRIVER_TRIES = 3
_DRIVER_PAUSE = 2.0


class _Silent:
    """Takes events of a node without an API server."""

    def emit(
        self,
        about: object,
        type: str,  # noqa: A002  # the API's word
        reason: str,
        message: str,
        annotations: Mapping[str, str] | None = None,
    ) -> None:
        log.info("%s %s: %s", type, reason, message)


def node_name(settings: Settings) -> str:
    return (settings.hostname_override or own_hostname()).strip().lower()


async def _runtime_answers(runtime: Runtime) -> None:
    """Wait for the runtime: it may be started at the same time as we are."""
    limit = asyncio.get_running_loop().time() + _RUNTIME_PATIENCE
    while True:
        try:
            await runtime.greet()
        except RuntimeFailure as problem:
            if asyncio.get_running_loop().time() > limit:
                raise Fatal(f"the container runtime does not answer: {problem}") from problem
            log.warning("waiting for the container runtime: %s", problem)
            await asyncio.sleep(1.0)
        else:
            return


async def cgroup_driver(settings: Settings, runtime: Runtime) -> str:
    """The runtime's own cgroup driver, and the configured one where it does not say.

    It is asked three times, as by upstream: it may have started just now. Raises Fatal.
    """
    for left in reversed(range(_DRIVER_TRIES)):
        try:
            found = await runtime.cgroup_driver()
        except RuntimeFailure as problem:
            if not left:
                raise Fatal(f"failed to get runtime config from CRI: {problem}") from problem
            log.warning("cannot get the configuration of the runtime yet: %s", problem)
            await asyncio.sleep(_DRIVER_PAUSE)
        else:
            break
    if not found:
        numbers.old_runtime()
    elif found != settings.cgroup_driver:
        log.info("Using cgroup driver setting received from the CRI runtime: %s", found)
    return found or settings.cgroup_driver


async def _services(cache: Cache | None) -> tuple[Service, ...]:
    if cache is None:
        return ()
    await cache.synced(Service)
    return tuple(cache.list(Service))


def _trust_bundles(settings: Settings, client: Verbs | None) -> TrustBundles | None:
    on = gates.enabled(settings.gates, "ClusterTrustBundleProjection")
    return TrustBundles(client) if client is not None and on else None


class Kubelet:
    """Everything that runs, from settings and an API server (or none)."""

    def __init__(self, settings: Settings, runtime: Runtime, client: Verbs | None, host: str = "") -> None:
        self.settings = settings
        self._client = client
        self._runtime = runtime
        node = host or node_name(settings)
        addresses = outset.addresses(settings)
        root = Path(settings.root_dir)
        hardware = outset.hardware(settings, root)
        reserved = Reserved(
            (settings.kube_reserved, settings.system_reserved),
            settings.eviction_hard,
            outset.max_pods(settings, hardware.cpus),
        )
        left = node_status.allocatable(hardware, reserved)
        period = int(settings.cpu_cfs_period * 1_000_000)
        alignment = outset.apportionment(settings, root, runtime, reserved)
        cgroups = outset.tree(settings, period, tuple(hardware.huge_pages), alignment.cpus)
        self._room = outset.together(settings, hardware, reserved)
        self._recorder: voice.Recorder = (
            Recorder(client, "kubelet", node, allowance=Allowance(settings.event_rate, settings.event_burst))
            if client is not None
            else _Silent()
        )
        speaker = Voice(self._recorder, node)
        self._bundles = _trust_bundles(settings, client)
        objects = ApiObjects(client, bundles=self._bundles)
        self.drivers = Mounter(root, node, self._recorder.emit)
        self.cache = Cache() if client is not None else None
        if self.cache is not None:
            self.cache.add(Service)
        self.here = Surroundings(
            runtime=runtime,
            voice=speaker,
            objects=objects,
            volumes=Kept(root, objects, self.drivers),
            images=Images(
                runtime,
                speaker,
                providers.Providers(
                    providers.read(settings.credential_config, settings.credential_programs),
                    objects.token,
                    objects.service_account,
                ),
                most_at_once(settings),
                pulls=Pulls(root, Policy(settings.image_proof, settings.image_allowlist)),
                allowance=Allowance(settings.pull_rate, settings.pull_burst),
            ),
            cgroups=cgroups,
            alignment=alignment,
            claims=Claims(root, client, Drivers(node, client)),
            users=UserNamespaces(root / "pods", outset.ids(settings, hardware.cpus)),
            machine=Machine(
                swap=outset.swap(settings, hardware, v2=cgroups.v2),
                node=node, memory=hardware.memory, domain=settings.cluster_domain, cgroup_root=cgroups.parent,
                cgroup_v2=cgroups.v2, huge_pages=tuple(hardware.huge_pages), log_root=settings.pod_logs, cpu_period=period,
                cpu_quota=settings.cpu_cfs_quota,
                profiles=Profiles(str(root / "seccomp"), settings.seccomp_default),
            ),
            host_ips=addresses,
            services=lambda: _services(self.cache),
            resolver=lambda: outset.resolver(settings.resolv_conf),
            allocatable=(
                parse(left["cpu"]).milli(), parse(left["memory"]).value(), parse(left["ephemeral-storage"]).value()
            ),
            cluster_dns=settings.cluster_dns,
            container_logs=Path(settings.container_logs),
            restart_most=settings.restart_most,
            unseen_for=settings.unseen_for,
            rules=Room(
                sysctls=sysctls.allowed(settings.unsafe_sysctls), apparmor=machine.has_app_armor(),
                features=of_kubelet(settings.cpu_policy),
            ),
        )  # fmt: skip
        self.me = Self()
        self.publisher = Publisher(client)
        manifests = list(static_url.sources(settings, node))
        self.agent = Agent(self.here, client, self.publisher, self.me, manifests)
        self.measure = Measure(
            self.here,
            self.agent.described,
            settings.stats_fresh,
            system=System(self.here.cgroups, settings.endpoint),
        )
        self.here.cpus.running, self.here.cpus.every = self.agent.running, settings.cpu_every
        self.watcher = Watcher(runtime, self.agent.wake, self.agent.seen)
        self._wishes = Wishes(
            hostname=settings.hostname_override or own_hostname(), addresses=addresses, root=root,
            port=settings.port, labels=settings.node_labels, taints=settings.taints,
            register=settings.register_node, reserved=reserved, status_every=settings.status_every,
            lease_seconds=settings.lease_seconds, provider_id=settings.provider_id,
            features=of_kubelet(settings.cpu_policy), report_every=settings.report_every,
            most_images=settings.most_images,
            cloud=Cloud(",".join(settings.node_ip)) if settings.cloud_provider else None,
        )  # fmt: skip

    async def run(self) -> None:
        """Until cancelled."""
        await self._prepare()
        async with asyncio.TaskGroup() as tasks:
            if self._client is not None:
                await self._with_api(tasks, self._client)
            tasks.create_task(self.agent.run())
            tasks.create_task(alive(lambda: not self.watcher.problem))
            tasks.create_task(heap.given_back())
            if self.settings.iptables_hint:
                tasks.create_task(iptables_hint.keep())
            claims = self.here.claims
            claims.known = self.agent.known
            self.here.devices.told = claims.told = self.agent.wake
            registry = Registry(
                self.here.volumes.root, self.here.machine.node, self._client, self.drivers, claims.drivers
            )
            for part in (
                registry, claims.drivers, claims, self.here.devices.plugins, self.here.cpus, self.measure.claimed,
                PodResources(self.here, self.agent.current), self.watcher, Rotator(self.agent, self.here, self.settings),
                OutOfMemory(self.here.voice),
            ):  # fmt: skip
                tasks.create_task(part.run())
            keeper = None
            if self._client is not None:
                keeper = NodeKeeper(
                    self._wishes,
                    self.here,
                    self._client,
                    self.me,
                    lambda: self.watcher.problem,
                    self.drivers.in_use,
                )
                tasks.create_task(keeper.run())
            collector = Collector(self.agent, self.here, self.settings, self.drivers.tidy)
            tasks.create_task(collector.run())
            tasks.create_task(self._evictor(collector).run())
            tasks.create_task(self._shutdown(keeper).run())
            what = Served(
                self.settings, self.agent, self.here, self.measure, self._client, self._check, self._names
            )
            for serving in servers(what):
                tasks.create_task(serving)
            ready()

    async def _prepare(self) -> None:
        """What must be there before anything runs. Raises Fatal."""
        numbers.CGROUP_VERSION.set(2 if self.here.cgroups.v2 else 1)
        try:
            await self.here.images.load()
        except (RuntimeFailure, OSError) as problem:
            raise Fatal(f"cannot find out which images were pulled: {problem}") from problem
        for text in await asyncio.to_thread(outset.enforce, self.settings, self.here.cgroups):
            self.here.voice.node("Normal", "NodeAllocatableEnforced", text)
        await asyncio.to_thread(self.here.cgroups.prepare, self._room)
        text = "Updated Node Allocatable limit across pods"
        self.here.voice.node("Normal", "NodeAllocatableEnforced", text)

    def _evictor(self, collector: Collector) -> Evictor:
        settings = self.settings
        rules = Rules(
            thresholds(lines(settings)), settings.eviction_transition, settings.eviction_most_grace,
            settings.eviction_every, settings.storage_limits,
        )  # fmt: skip
        world = World(
            measure=self.measure.take,
            candidates=self.agent.candidates,
            ended=self.agent.ended,
            free=collector.free,
            voice=self.here.voice,
            pressures=self.here.pressures,
        )
        return Evictor(rules, world)

    def _shutdown(self, keeper: NodeKeeper | None) -> Shutdown:
        settings = self.settings
        configured = periods(
            settings.shutdown_period, settings.shutdown_critical, settings.shutdown_by_priority
        )
        world = Going(
            pods=self.agent.present,
            end=self.agent.end,
            ended=self.agent.unmounted,
            told=self.agent.told,
            tell=keeper.soon if keeper is not None else lambda: None,
            voice=self.here.voice,
            closing=self.here.closing,
        )
        return Shutdown(configured, world, Path(settings.root_dir), logind)

    async def _with_api(self, tasks: asyncio.TaskGroup, client: Verbs) -> None:
        assert self.cache is not None
        assert isinstance(self._recorder, Recorder)
        tasks.create_task(self._recorder.run())
        tasks.create_task(self.publisher.run())
        clock = asyncio.get_running_loop().time
        tasks.create_task(Allocatable(client, self.here.machine.node, self.drivers, clock).run())
        tasks.create_task(self.cache.feed(client, Service))
        if self._bundles is not None:
            tasks.create_task(self._bundles.run())

    def _names(self) -> tuple[str, ...]:
        """What the node is called by who wants something of its kubelet: in a cloud, by what that says."""
        if self._wishes.cloud is None:
            return (self.here.machine.node, self._wishes.hostname, *self.here.host_ips)
        node = self.me.node
        return tuple(one.address for one in node.status.addresses) if node is not None else ()

    def _check(self) -> None:
        if self.watcher.problem:
            raise Fatal(self.watcher.problem)


async def main(settings: Settings, config: Config | None) -> None:
    """The daemon. ``config`` None: a node without an API server, that runs its static pods."""
    async with Runtime(settings.endpoint, settings.request_timeout, settings.image_endpoint) as runtime:
        await _runtime_answers(runtime)
        settings = replace(settings, cgroup_driver=await cgroup_driver(settings, runtime))
        if config is None:
            await Kubelet(settings, runtime, None).run()
            return
        async with Client(config) as client:
            await Kubelet(settings, runtime, client).run()
