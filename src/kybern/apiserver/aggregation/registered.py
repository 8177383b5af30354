"""The APIServices of the cluster as this server has seen them last, and which of them others answer for."""

import logging
from collections.abc import Callable

from kybern.apiserver.aggregation.priorities import GROUP, PLURAL
from kybern.apiserver.aggregation.remote import Remote, remote
from kybern.apiserver.lookup import Informers
from kybern.machinery.kind import Raw
from kybern.storage.value import decoded

log = logging.getLogger(__name__)


class Registered:
    """``services`` are all by name, ``remotes`` those of other servers by path. ``changed`` are told of every change."""

    def __init__(self) -> None:
        self.services: dict[str, Raw] = {}
        self.remotes: dict[str, Remote] = {}
        self.changed: list[Callable[[], None]] = []

    def follow(self, informers: Informers) -> None:
        informers.subscribe(GROUP, PLURAL, self.take)

    def take(self, old: bytes | None, new: bytes | None) -> None:
        body = new or old
        assert body is not None
        raw = decoded(body)
        name = raw["metadata"]["name"]
        before = self.services.pop(name, None)
        known = remote(before) if before is not None else None
        if known is not None:
            self.remotes.pop(known.path, None)
        if new is not None:
            self.services[name] = raw
            found = remote(raw)
            if found is not None:
                self.remotes[found.path] = found
        for tell in self.changed:
            tell()


def prefix(path: str) -> str:
    """Group and version of a request's path: by this remotes are known."""
    return "/".join(path.split("/", 4)[:4])
