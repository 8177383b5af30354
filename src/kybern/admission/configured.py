"""Whom the cluster wants to be asked about writes: webhooks and policies, as they are configured now.

It follows the caches that the API server's clients read, so a change is in force as soon as such a client could see it. A
write that comes before they are filled waits for them; where nothing is configured a write costs a look at a tuple.
"""

import asyncio
import logging
import uuid
from collections.abc import Callable
from typing import Protocol

import msgspec

from kybern.admission.framework import Request, Versions, refused
from kybern.admission.matching import CONFIGURATION_GROUP
from kybern.admission.policies.bound import Bound, joined
from kybern.admission.policies.policy import binding_of, policy_of
from kybern.admission.webhooks.target import Caller
from kybern.admission.webhooks.webhook import Webhook, of_configuration
from kybern.machinery.errors import ApiError
from kybern.machinery.kind import Raw

log = logging.getLogger(__name__)
_WAIT = 10.0

type Changed = Callable[[bytes | None, bytes | None], None]


class Informers(Protocol):
    """See ``apiserver.lookup.Informers``."""

    def subscribe(self, group: str, plural: str, changed: Changed) -> None: ...


class Parsed[T]:
    """Objects of one kind, each read once; ``all`` in the order of their names."""

    def __init__(self, parse: Callable[[Raw], T], changed: Callable[[], None]) -> None:
        self._parse = parse
        self._changed = changed
        self._found: dict[str, T] = {}

    def take(self, old: bytes | None, new: bytes | None) -> None:
        raw: Raw = msgspec.json.decode(new or old or b"")
        name = raw["metadata"]["name"]
        if new is None:
            self._found.pop(name, None)
        else:
            try:
                self._found[name] = self._parse(raw)
            except (ApiError, KeyError, TypeError, ValueError):
                # Written past validation: what cannot be read asks nobody.
                log.exception("Cannot use %s %s", raw.get("kind"), name)
                self._found.pop(name, None)
        self._changed()

    @property
    def all(self) -> tuple[T, ...]:
        return tuple(self._found[name] for name in sorted(self._found))


class Configured:
    """``uid`` makes the names of reviews."""

    def __init__(
        self, versions: Versions, caller: Caller, uid: Callable[[], str] = lambda: str(uuid.uuid4())
    ) -> None:
        self.versions = versions
        self.caller = caller
        self.uid = uid
        self.mutating_webhooks: tuple[Webhook, ...] = ()
        self.validating_webhooks: tuple[Webhook, ...] = ()
        self.mutating_policies: tuple[Bound, ...] = ()
        self.validating_policies: tuple[Bound, ...] = ()
        self.synced = False
        self._filled = asyncio.Event()
        self._mutating = Parsed(of_configuration, self._webhooks)
        self._validating = Parsed(of_configuration, self._webhooks)
        self._changing = Parsed(policy_of, self._policies), Parsed(binding_of, self._policies)
        self._deciding = Parsed(policy_of, self._policies), Parsed(binding_of, self._policies)

    def follow(self, informers: Informers) -> None:
        for plural, parsed in (
            ("mutatingwebhookconfigurations", self._mutating),
            ("validatingwebhookconfigurations", self._validating),
        ):
            informers.subscribe(CONFIGURATION_GROUP, plural, parsed.take)
        for prefix, (policies, bindings) in (("mutating", self._changing), ("validating", self._deciding)):
            informers.subscribe(CONFIGURATION_GROUP, f"{prefix}admissionpolicies", policies.take)
            informers.subscribe(CONFIGURATION_GROUP, f"{prefix}admissionpolicybindings", bindings.take)

    def _webhooks(self) -> None:
        self.mutating_webhooks = tuple(hook for hooks in self._mutating.all for hook in hooks)
        self.validating_webhooks = tuple(hook for hooks in self._validating.all for hook in hooks)

    def _policies(self) -> None:
        self.mutating_policies = joined(self._changing[0].all, self._changing[1].all)
        self.validating_policies = joined(self._deciding[0].all, self._deciding[1].all)

    def filled(self) -> None:
        """All that is configured is known now."""
        self.synced = True
        self._filled.set()

    async def ready(self, request: Request) -> None:
        """Wait until all is known. Raises Forbidden when that takes too long."""
        if self.synced:
            return
        try:
            async with asyncio.timeout(_WAIT):
                await self._filled.wait()
        except TimeoutError:
            raise refused(request, "not yet ready to handle request") from None
