"""What every verb of the API works with: the store and its caches, the kinds, admission, and what a call is.

Nothing here knows HTTP: the server's own writes (``local.py``) go the same way as a client's.
"""

import time
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from kybern.admission.chain import Chain
from kybern.admission.configured import Configured
from kybern.admission.framework import Disguise, Lookup
from kybern.apiserver.options import WriteOptions
from kybern.apiserver.route import Table
from kybern.auth.attributes import Attributes, Decision
from kybern.auth.user import User
from kybern.machinery.apply.shape import Shape
from kybern.machinery.kind import Kind, Raw
from kybern.storage.cache import Cache
from kybern.storage.caches import Caches
from kybern.storage.store import Store
from kybern.storage.value import Form

type Step = Callable[[], Awaitable[None]]


async def _nothing() -> None:
    return


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a guard does once its write is in the store, or has failed."""

    stored: Step = _nothing
    failed: Step = _nothing


class Guard(Protocol):
    """What one kind needs beside its rules just before it is written: something that only the server can give or check.

    ``new`` is None on a deletion, ``old`` on a creation; ``new`` may be changed.
    """

    async def prepare(self, call: "Call", new: Raw | None, old: Raw | None) -> Outcome: ...


@dataclass(slots=True)
class Engine:
    store: Store
    caches: Caches
    table: Table
    lookup: Lookup
    chain: Chain = field(default_factory=lambda: Chain(()))
    guards: dict[tuple[str, str], tuple[Guard, ...]] = field(default_factory=dict)
    authorize: Callable[[Attributes], Decision] | None = None
    charge: Callable[[Raw], Awaitable[None]] | None = None
    provision: Callable[[str], Awaitable[None]] | None = None
    configured: Configured | None = None
    event_ttl: int = 3600
    gates: Collection[str] = ()
    clock: Callable[[], float] = time.time
    shapes: dict[tuple[str, str, str], Shape] = field(default_factory=dict)
    _forms: dict[str, Form] = field(default_factory=dict)

    def form(self, kind: Kind) -> Form:
        key = f"{kind.api_version}/{kind.kind}"
        found = self._forms.get(key)
        if found is None:
            found = self._forms[key] = Form(kind)
        return found

    def forget(self, kind: Kind) -> None:
        """A custom kind has changed or gone: what was made for it must not be used again."""
        self._forms.pop(f"{kind.api_version}/{kind.kind}", None)
        for at in [at for at in self.shapes if at[:2] == (kind.api_version, kind.kind)]:
            del self.shapes[at]
        if kind.conversion is None:
            self.caches.drop(kind)

    def cache(self, kind: Kind) -> Cache:
        """The cache in which a kind's objects are, in their stored form."""
        return self.caches.of(self.table.stored(kind))


@dataclass(slots=True)
class Call:
    """One request for objects of one kind. ``warnings`` go to the client; ``agent`` is what it calls itself.

    ``annotations`` are what admission notes for the audit log.
    ``asked``: webhooks and policies were asked already, about the subresource that this is a part of. ``disguise`` is what
    they see of the object when the subresource shows a part of it. ``unnamed``: the request was for many, and names none.
    """

    engine: Engine
    kind: Kind
    user: User
    namespace: str = ""
    name: str = ""
    subresource: str = ""
    query: Mapping[str, str] = field(default_factory=dict)
    options: WriteOptions = field(default_factory=WriteOptions)
    warnings: list[str] = field(default_factory=list)
    agent: str = "kube-apiserver"
    asked: bool = False
    unnamed: bool = False
    disguise: Disguise | None = None
    annotations: dict[str, str] = field(default_factory=dict)

    @property
    def stored(self) -> Kind:
        return self.engine.table.stored(self.kind)

    @property
    def key(self) -> str:
        return self.kind.key(self.namespace, self.name)

    def warn(self, text: str) -> None:
        if text not in self.warnings:
            self.warnings.append(text)
