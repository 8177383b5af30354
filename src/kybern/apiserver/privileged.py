"""Refuses privileged containers where the server was not told to allow them (``--allow-privileged``)."""

from collections.abc import Iterator
from typing import Any

from kybern.api.rules.pods import security
from kybern.apiserver.engine import Call, Outcome
from kybern.machinery.errors import Cause, Invalid
from kybern.machinery.kind import Raw

TEMPLATES = {
    ("", "pods"): ("spec",),
    ("", "podtemplates"): ("template", "spec"),
    ("", "replicationcontrollers"): ("spec", "template", "spec"),
    ("apps", "daemonsets"): ("spec", "template", "spec"),
    ("apps", "deployments"): ("spec", "template", "spec"),
    ("apps", "replicasets"): ("spec", "template", "spec"),
    ("apps", "statefulsets"): ("spec", "template", "spec"),
    ("batch", "cronjobs"): ("spec", "jobTemplate", "spec", "template", "spec"),
    ("batch", "jobs"): ("spec", "template", "spec"),
}
"""Where the kinds that make pods describe them."""


def causes(raw: Raw, path: tuple[str, ...]) -> Iterator[Cause]:
    spec: Any = raw
    for part in path:
        spec = (spec or {}).get(part)
    yield from security.privileged(".".join(path), spec or {})


class Unprivileged:
    """See ``engine.Guard``."""

    async def prepare(self, call: Call, new: Raw | None, old: Raw | None) -> Outcome:
        path = TEMPLATES[call.kind.group, call.kind.plural]
        if new is not None and (found := list(causes(new, path))) and not (old and list(causes(old, path))):
            raise Invalid.of(call.kind.group, call.kind.kind, call.name, found)
        return Outcome()
