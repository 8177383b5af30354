"""Making sandboxes and starting containers: gathering what the pure specs need, and asking the runtime.

What holds: what a container waits for shows as its waiting reason (``CannotStart.reason``), in upstream's words, and as an
event. A container whose postStart hook failed is stopped again.
"""

import asyncio
import logging
import secrets
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from kybern.api.core_v1 import Container, Pod, Secret, Service
from kybern.daemon.files import replace_file
from kybern.kubelet import env_files, hooks, image_volumes, names, numbers, recursive, user_namespaces
from kybern.kubelet.convert import Image
from kybern.kubelet.cri import RuntimeFailure
from kybern.kubelet.devices.plugins import PluginFailure
from kybern.kubelet.dra.claims import CannotPrepare
from kybern.kubelet.environment import Missing, Sources, environment, files_of, referred
from kybern.kubelet.images.pull import NoImage
from kybern.kubelet.labels import is_static
from kybern.kubelet.objects import NoHandler
from kybern.kubelet.parts import target_of
from kybern.kubelet.plan import Start
from kybern.kubelet.runtime import Actual, Instance, RunState
from kybern.kubelet.security import Refused, verify_user
from kybern.kubelet.spec import Bind, Prepared, container_config, log_directory, sandbox_config
from kybern.kubelet.stop import CannotStop, Manner, grace_of, stop_container
from kybern.kubelet.surroundings import Surroundings
from kybern.kubelet.user_namespaces import CannotMap
from kybern.kubelet.volumes import kept
from kybern.kubelet.volumes.binds import Places, binds
from kybern.kubelet.volumes.devices import devices
from kybern.kubelet.volumes.plugin import CannotMount
from kybern.machinery.struct import replace

log = logging.getLogger(__name__)

_SERVICES = 10.0


class CannotStart(Exception):
    """A sandbox or a container did not start. ``reason`` is for the container's waiting state; empty for sandboxes."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


async def _users(pod: Pod, here: Surroundings) -> Any:
    """Whose users the pod's are; raises CannotMap, NoHandler, RuntimeFailure or OSError."""
    if pod.spec.host_users is not False:
        return user_namespaces.on_node()
    handler = await here.objects.handler(pod.spec.runtime_class_name)
    user_namespaces.verify(await here.runtime.abilities(), handler)
    return await here.users.of(pod.metadata.uid)


def _config(pod: Pod, attempt: int, here: Surroundings, users: Any) -> Any:
    resolver, told = names.resolver_of(pod, here.resolver(), here.cluster_dns, here.machine.domain)
    for reason, text in told:
        shown = f"pod: {_shown(pod)}. {text}" if reason == "MissingClusterDNS" else text
        here.voice.pod(pod, "Warning", reason, shown)
    return sandbox_config(pod, attempt, resolver, here.machine, users)


def _target(pod: Pod, container: Container, actual: Actual) -> str:
    """The id of the container whose processes an ephemeral one shall see."""
    name = target_of(pod, container.name)
    if not name:
        return ""
    found = actual.here(name)
    if found is None or not found.running:
        raise Missing(f"unable to find target container {name}")
    return found.id


def _shown(pod: Pod) -> str:
    return f'"{pod.metadata.name}_{pod.metadata.namespace}({pod.metadata.uid})"'


async def make_sandbox(pod: Pod, attempt: int, here: Surroundings) -> None:
    """A new sandbox with its network; raises CannotStart."""
    if not here.network.ready and not pod.spec.host_network:
        text = f"network is not ready: {here.network.message}"
        here.voice.pod(pod, "Warning", "NetworkNotReady", text)
        raise CannotStart("", text)
    try:
        await asyncio.to_thread(_directories, pod, here)
    except OSError as problem:
        text = f"Failed to create pod sandbox: {problem}"
        here.voice.pod(pod, "Warning", "FailedCreatePodSandBox", text)
        raise CannotStart("", text) from problem
    try:
        await here.claims.prepare(pod)
    except (CannotPrepare, OSError) as problem:
        text = f"Failed to prepare dynamic resources: {problem}"
        here.voice.pod(pod, "Warning", "FailedPrepareDynamicResources", text)
        raise CannotStart("", text) from problem
    try:
        handler = await here.objects.handler(pod.spec.runtime_class_name)
        users = await _users(pod, here)
        config = _config(pod, attempt, here, users)
        with numbers.making_sandbox(handler):
            await here.runtime.run_sandbox(config, handler)
    except (RuntimeFailure, NoHandler, CannotMap, OSError, names.TooLong) as problem:
        text = f"Failed to create pod sandbox: {problem}"
        here.voice.pod(pod, "Warning", "FailedCreatePodSandBox", text)
        raise CannotStart("", text) from problem


def _directories(pod: Pod, here: Surroundings) -> None:
    Path(log_directory(pod, here.machine.log_root)).mkdir(mode=0o755, parents=True, exist_ok=True)
    here.cgroups.make(pod)


def _replaced(file: Path, content: bytes) -> None:
    """Have that content in a file that running containers see: whole at any time, also when the disk is full."""
    if file.exists() and file.read_bytes() == content:
        return
    replace_file(file, content, 0o644)


async def pull_secrets(pod: Pod, here: Surroundings) -> tuple[Secret, ...]:
    """The pod's imagePullSecrets; those that are missing are left out, as upstream does."""
    found = []
    for reference in pod.spec.image_pull_secrets:
        try:
            secret = await here.objects.secret(pod.metadata.namespace, reference.name)
        except CannotMount as problem:
            log.warning("cannot get a pull secret of pod %s: %s", _shown(pod), problem)
            continue
        if secret is not None:
            found.append(secret)
    return tuple(found)


class Starter:
    """Starts the containers of one pod. ``volumes`` are the paths of its volumes."""

    def __init__(self, pod: Pod, here: Surroundings, volumes: Mapping[str, Path]) -> None:
        self._pod = pod
        self._here = here
        self._volumes = volumes

    async def start(self, action: Start, actual: Actual) -> None:
        """Start one container, from its image to its postStart hook; raises CannotStart."""
        container, pod, here = action.container, self._pod, self._here
        sandbox = actual.sandbox
        assert sandbox is not None
        try:
            users = await _users(pod, here)
            config = _config(pod, sandbox.attempt, here, users)
        except (CannotMap, NoHandler, RuntimeFailure, OSError, names.TooLong) as problem:
            self._failed(container, f"Error: {problem}")
            raise CannotStart("CreateContainerConfigError", str(problem)) from problem
        try:
            logins = await pull_secrets(pod, here)
            shown = await self._image_volumes(container, logins, config)
            image = await here.images.ensure(pod, container, logins, config)
        except NoImage as problem:
            self._failed(container, f"Error: {problem.reason}", quiet=problem.reason == "ErrImagePull")
            raise CannotStart(problem.reason, str(problem)) from problem
        ready = await self._prepared(action, actual, image, shown, users)
        made = container_config(pod, container, ready, here.machine)
        identity = await self._create(container, sandbox.id, made, config)
        await self._run(container, identity, action.attempt)
        await self._post_start(container, identity, sandbox.ips[0] if sandbox.ips else "127.0.0.1")

    def _failed(self, container: Container, text: str, *, quiet: bool = False) -> None:
        if not quiet:
            self._here.voice.container(self._pod, container, "Warning", "Failed", text)

    async def _image_volumes(
        self, container: Container, logins: tuple[Secret, ...], config: Any
    ) -> dict[str, str]:
        """Have the images of its volumes; those that the runtime shall mount, by the volume's name."""
        wanted = {mount.name for mount in container.volume_mounts}
        runtime, left = self._here.runtime, {}
        for volume in self._pod.spec.volumes:
            if volume.image is None or volume.name not in wanted:
                continue
            asked = replace(
                container, image=volume.image.reference, image_pull_policy=volume.image.pull_policy
            )
            found = await self._here.images.ensure(self._pod, asked, logins, config)
            if image_volumes.by_runtime(runtime.name, runtime.version):
                left[volume.name] = found.id
                continue
            try:
                await image_volumes.show(runtime, found.id, self._volumes[volume.name])
            except (CannotMount, OSError) as problem:
                self._failed(container, f"Error: {problem}")
                raise CannotStart("CreateContainerError", str(problem)) from problem
        return left

    async def _prepared(
        self, action: Start, actual: Actual, image: Image, shown: Mapping[str, str], users: Any
    ) -> Prepared:
        pod, container, here = self._pod, action.container, self._here
        try:
            variables = environment(pod, container, await self._sources(container, actual))
            verify_user(pod, container, image.uid, image.username)
            deep = await self._deep(container)
            mounts = await asyncio.to_thread(self._binds, container, actual, variables, shown, deep)
            directory = Path(log_directory(pod, here.machine.log_root), container.name)
            await asyncio.to_thread(directory.mkdir, 0o755, parents=True, exist_ok=True)
            given = tuple(devices(pod, container, self._volumes))
            target = _target(pod, container, actual)
            equipment = (await here.devices.equip(pod.metadata.uid, container.name)).beside(
                here.claims.names(pod, container)
            )
        except (
            Missing,
            Refused,
            CannotMount,
            CannotPrepare,
            PluginFailure,
            NoHandler,
            RuntimeFailure,
            OSError,
        ) as problem:
            self._failed(container, f"Error: {problem}")
            raise CannotStart("CreateContainerConfigError", str(problem)) from problem
        return Prepared(
            image.id,
            action.attempt,
            # What the pod says wins over what a plugin says.
            {**equipment.variables, **variables},
            tuple(mounts),
            image.uid,
            image.username,
            container.image,
            target,
            equipment,
            here.cpus.of(pod.metadata.uid, container.name),
            given,
            here.memory.of(pod.metadata.uid, container.name),
            users,
            bool(here.cpus.own(pod.metadata.uid, container.name)),
            action.round,
        )

    async def _sources(self, container: Container, actual: Actual) -> Sources:
        maps, hidden = referred([container])
        space, objects = self._pod.metadata.namespace, self._here.objects
        return Sources(
            config_maps={name: await objects.config_map(space, name) for name in maps},
            secrets={name: await objects.secret(space, name) for name in hidden},
            services=await self._services(),
            files=await self._files(container),
            place=self._here.place(self._pod, actual),
        )

    async def _files(self, container: Container) -> dict[tuple[str, str], str | None]:
        """The files of variables, which few containers have; raises CannotMount for a volume that the pod does not have."""
        found = {}
        for volume, below in files_of(container):
            if volume not in self._volumes:
                raise CannotMount(f'cannot find the volume "{volume}" referenced by FileKeyRef')
            found[volume, below] = await asyncio.to_thread(env_files.read, self._volumes[volume], below)
        return found

    async def _services(self) -> tuple[Service, ...]:
        if is_static(self._pod):
            # They run before there is an API server, and it may be one of them.
            return ()
        try:
            async with asyncio.timeout(_SERVICES):
                return await self._here.services()
        except TimeoutError as problem:
            text = "services have not yet been read at least once, cannot construct envvars"
            raise Missing(text) from problem

    async def _deep(self, container: Container) -> frozenset[str]:
        """At which paths nothing below a mount can be written either; raises CannotMount, NoHandler or RuntimeFailure."""
        if not any(map(recursive.asked, container.volume_mounts)):
            return frozenset()
        handler = await self._here.objects.handler(self._pod.spec.runtime_class_name)
        able = (await self._here.runtime.abilities()).recursive_read_only(handler)
        return recursive.paths(container, able=able)

    def _binds(
        self,
        container: Container,
        actual: Actual,
        variables: Mapping[str, str],
        shown: Mapping[str, str],
        deep: frozenset[str],
    ) -> list[Bind]:
        """Volumes, /etc/hosts and the file for the container's last words."""
        home = self._here.volumes.home(self._pod.metadata.uid)
        places = Places(self._volumes, home, shown, kept.only_read(self._pod), deep)
        found = list(binds(container, variables, places))
        inside = {bind.inside for bind in found}
        found += (bind for bind in self._own_files(container, actual) if bind.inside not in inside)
        return found

    def _own_files(self, container: Container, actual: Actual) -> Iterator[Bind]:
        pod, here = self._pod, self._here
        home = here.volumes.home(pod.metadata.uid)
        hosts = home / "etc-hosts"
        name = names.hostname_of(pod, here.machine.domain, here.machine.node)
        of_node = Path("/etc/hosts").read_text() if Path("/etc/hosts").exists() else ""
        ips = here.place(pod, actual).pod_ips
        home.mkdir(parents=True, exist_ok=True)
        _replaced(hosts, names.hosts_file(pod, ips, name, of_node).encode())
        yield Bind("/etc/hosts", str(hosts))
        if container.termination_message_path:
            directory = home / "containers" / container.name
            directory.mkdir(parents=True, exist_ok=True)
            message = directory / secrets.token_hex(4)
            message.touch()
            # Any user inside must be able to write its last words.
            message.chmod(0o666)
            yield Bind(container.termination_message_path, str(message))

    async def _create(self, container: Container, sandbox: str, config: Any, sandbox_config: Any) -> str:
        try:
            identity = await self._here.runtime.create_container(sandbox, config, sandbox_config)
        except RuntimeFailure as problem:
            self._failed(container, f"Error: {problem}")
            raise CannotStart("CreateContainerError", str(problem)) from problem
        self._here.voice.container(self._pod, container, "Normal", "Created", "Container created")
        return identity

    async def _run(self, container: Container, identity: str, attempt: int) -> None:
        try:
            await self._here.runtime.start_container(identity)
        except RuntimeFailure as problem:
            self._failed(container, f"Error: {problem}")
            raise CannotStart("RunContainerError", str(problem)) from problem
        self._here.voice.container(self._pod, container, "Normal", "Started", "Container started")
        await asyncio.to_thread(self._link_log, container, identity, attempt)

    def _link_log(self, container: Container, identity: str, attempt: int) -> None:
        """The name under which log collectors look for it."""
        meta, here = self._pod.metadata, self._here
        file = Path(log_directory(self._pod, here.machine.log_root), container.name, f"{attempt}.log")
        link = here.container_logs / f"{meta.name}_{meta.namespace}_{container.name}-{identity}.log"
        try:
            here.container_logs.mkdir(parents=True, exist_ok=True)
            link.symlink_to(file)
        except OSError as problem:
            log.warning("cannot make %s: %s", link, problem)

    async def _post_start(self, container: Container, identity: str, ip: str) -> None:
        handler = container.lifecycle.post_start if container.lifecycle is not None else None
        if handler is None:
            return
        try:
            said = await hooks.run(handler, self._here.runtime, self._pod, container, identity, ip)
            if said:
                self._here.voice.pod(self._pod, "Warning", hooks.FALLBACK, said)
        except hooks.HookFailed as problem:
            # What a command printed may be a secret: it is in the status, and in no event.
            text = "PostStartHook failed"
            self._here.voice.container(self._pod, container, "Warning", "FailedPostStartHook", text)
            run = Instance(identity, container.name, "", RunState.RUNNING, datetime.now(UTC))
            manner = Manner(grace_of(self._pod), "FailedPostStartHook", ip)
            try:
                await stop_container(self._pod, run, manner, self._here)
            except CannotStop as refused:
                log.warning("after its postStart hook: %s", refused)
            raise CannotStart("PostStartHookError", str(problem)) from problem
