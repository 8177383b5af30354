"""Having a container's image on the machine before it is made.

What holds: an image that is pulled by several pods at once is pulled one after the other (upstream's
serializeImagePulls), so the second finds it there; a pull that failed is tried again after 10 s, doubled to 5 min, and
until then the container says ImagePullBackOff. An image that is there is given to those who may have it (``rights``).
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from kybern._proto import cri_pb2 as pb
from kybern.api.core_v1 import Container, Pod, Secret
from kybern.client.allowance import Allowance
from kybern.kubelet.backoff import Delay, longer, remaining
from kybern.kubelet.convert import Image
from kybern.kubelet.cri import Runtime, RuntimeFailure
from kybern.kubelet.images.names import InvalidName, checked, with_tag
from kybern.kubelet.images.providers import Providers
from kybern.kubelet.images.pulls import Pulls
from kybern.kubelet.images.registries import Login, logins
from kybern.kubelet.settings import Settings
from kybern.kubelet.voice import Voice

log = logging.getLogger(__name__)


class NoImage(Exception):
    """The image is not there. ``reason`` is the waiting reason that the container shows."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


def most_at_once(settings: Settings) -> int | None:
    """How many images are pulled at the same time; None is any number."""
    return 1 if settings.serialize_pulls else settings.parallel_pulls or None


class Images:
    """The images of the node, for all pods."""

    def __init__(
        self,
        runtime: Runtime,
        voice: Voice,
        providers: Providers,
        at_once: int | None = 1,
        *,
        pulls: Pulls,
        allowance: Allowance | None = None,
    ) -> None:
        """``at_once`` is how many pulls may go on at the same time; None is any number. ``allowance``: how often."""
        self._pulls = pulls
        self._allowance = allowance or Allowance(0, 0)
        self._runtime = runtime
        self._voice = voice
        self._providers = providers
        self._turn = asyncio.Semaphore(at_once) if at_once is not None else contextlib.nullcontext()
        self._delays: dict[tuple[str, str], Delay] = {}
        self._why: dict[tuple[str, str], str] = {}

    async def ensure(
        self, pod: Pod, container: Container, secrets: tuple[Secret, ...], sandbox_config: Any
    ) -> Image:
        """The image that a container asks for; raises NoImage."""
        name = self._name(pod, container)
        try:
            present = await self._runtime.image(name)
        except RuntimeFailure as problem:
            message = f'Failed to inspect image "{container.image}": {problem}'
            self._voice.container(pod, container, "Warning", "InspectFailed", message)
            raise NoImage("ImageInspectError", message) from problem
        policy = container.image_pull_policy or "IfNotPresent"
        if present is not None and policy != "Always" and await self._may_use(pod, name, present, secrets):
            text = f'Container image "{container.image}" already present on machine and can be accessed by the pod'
            self._voice.container(pod, container, "Normal", "Pulled", text)
            return present
        if policy == "Never":
            message = f'Container image "{container.image}" is not present with pull policy of Never'
            self._voice.container(pod, container, "Warning", "ErrImageNeverPull", message)
            raise NoImage("ErrImageNeverPull", message)
        return await self._pulled(pod, container, secrets, sandbox_config)

    async def _may_use(self, pod: Pod, name: str, image: Image, secrets: tuple[Secret, ...]) -> bool:
        """Whether the pod may have an image that somebody pulled before."""
        if not self._pulls.needs_proof(name, image.id):
            return True
        return await asyncio.to_thread(
            self._pulls.proven, name, image.id, await self._logins(pod, name, secrets)
        )

    async def _logins(self, pod: Pod, name: str, secrets: tuple[Secret, ...]) -> tuple[Login, ...]:
        return (*logins(secrets, name), *await self._providers.logins(pod, name))

    def _name(self, pod: Pod, container: Container) -> str:
        try:
            return checked(container.image)
        except InvalidName as problem:
            message = f'Failed to apply default image tag "{container.image}": {problem}'
            self._voice.container(pod, container, "Warning", "InspectFailed", message)
            raise NoImage("InvalidImageName", message) from problem

    async def _pulled(
        self, pod: Pod, container: Container, secrets: tuple[Secret, ...], sandbox_config: Any
    ) -> Image:
        key, now = (pod.metadata.uid, container.image), datetime.now(UTC)
        delay = self._delays.get(key)
        if delay is not None and remaining(delay, delay.updated, now) > 0:
            message = f'Back-off pulling image "{container.image}"'
            self._voice.container(pod, container, "Normal", "BackOff", message)
            raise NoImage("ImagePullBackOff", f"{message}: {self._why.get(key, '')}")
        self._voice.container(pod, container, "Normal", "Pulling", f'Pulling image "{container.image}"')
        asked = time.monotonic()
        try:
            async with self._turn:
                begun = time.monotonic()
                self._count(begun)
                name = with_tag(container.image)
                found = await self._noted(name, await self._logins(pod, name, secrets), sandbox_config)
        except RuntimeFailure as problem:
            self._delays[key] = longer(delay, datetime.now(UTC))
            self._why[key] = f"ErrImagePull: {problem}"
            text = f'Failed to pull image "{container.image}": {problem}'
            self._voice.container(pod, container, "Warning", "Failed", text)
            self._voice.container(pod, container, "Warning", "Failed", "Error: ErrImagePull")
            raise NoImage("ErrImagePull", str(problem)) from problem
        self._delays.pop(key, None)
        took, whole = time.monotonic() - begun, time.monotonic() - asked
        text = (
            f'Successfully pulled image "{container.image}" in {_shown(took)} ({_shown(whole)} including waiting). '
            f"Image size: {found.size} bytes."
        )
        self._voice.container(pod, container, "Normal", "Pulled", text)
        return found

    def _count(self, now: float) -> None:
        """One more pull; raises RuntimeFailure when there were too many (registryPullQPS)."""
        if not self._allowance.take(now):
            raise RuntimeFailure("pull QPS exceeded")

    async def _noted(self, name: str, known: tuple[Login, ...], sandbox_config: Any) -> Image:
        """Pull, and have on disk that it was the kubelet who did, and with whose credentials."""
        try:
            await asyncio.to_thread(self._pulls.begin, name)
        except OSError as problem:
            text = f'Failed to record image pull intent for container image "{name}": {problem}'
            raise RuntimeFailure(text) from problem
        try:
            found, login = await self._pull(name, known, sandbox_config)
        except BaseException:
            self._pulls.failed(name)
            raise
        await asyncio.to_thread(self._pulls.succeeded, name, found.id, login)
        return found

    async def _pull(
        self, name: str, known: tuple[Login, ...], sandbox_config: Any
    ) -> tuple[Image, Login | None]:
        """Pull with each login that fits, or with none; with which it was."""
        last: RuntimeFailure | None = None
        for login in known or (None,):
            try:
                await self._runtime.pull(name, _auth(login), sandbox_config)
            except RuntimeFailure as problem:
                last = problem
                continue
            found = await self._runtime.image(name)
            if found is not None:
                return found, login
        raise last or RuntimeFailure(f'image "{name}" was pulled but is not there')

    async def load(self) -> None:
        """Take in what was pulled before. Raises RuntimeFailure, OSError."""
        await asyncio.to_thread(self._pulls.load, await self._runtime.images())

    async def prune(self, images: Iterable[Image]) -> None:
        """Forget what was pulled and is not there any more; ``images`` are."""
        await asyncio.to_thread(self._pulls.prune, [image.id for image in images])

    def wait(self, uid: str) -> float | None:
        """Seconds until a pull of this pod may be tried again."""
        now = datetime.now(UTC)
        waits = [
            remaining(delay, delay.updated, now)
            for (owner, _image), delay in self._delays.items()
            if owner == uid
        ]
        return min(waits, default=None)

    def forget(self, uid: str) -> None:
        self._delays = {key: value for key, value in self._delays.items() if key[0] != uid}
        self._why = {key: value for key, value in self._why.items() if key[0] != uid}


def _auth(login: Login | None) -> Any:
    # No address: the runtime would take it for a URL, and what was matched may be a pattern or have a path.
    if login is None:
        return None
    return pb.AuthConfig(
        username=login.username, password=login.password, identity_token=login.identity_token
    )


def _shown(seconds: float) -> str:
    """As Go prints a duration, to the millisecond."""
    if seconds < 1:
        return f"{round(seconds * 1000)}ms"
    minutes, rest = divmod(round(seconds, 3), 60)
    return f"{int(minutes)}m{rest:g}s" if minutes else f"{rest:g}s"
