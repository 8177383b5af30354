"""Which level a namespace enforces, warns of and audits, from its labels; and what a pod violates of a level."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from kybern.admission.pod_security import baseline, restricted
from kybern.admission.pod_security.violation import Pod, Violation
from kybern.machinery.errors import Cause
from kybern.machinery.kind import Raw

PREFIX = "pod-security.kubernetes.io/"
LEVELS = ("privileged", "baseline", "restricted")
MODES = ("enforce", "audit", "warn")
NEWEST = 36
_VERSION = re.compile(r"v1\.(0|[1-9][0-9]*)")


@dataclass(frozen=True, slots=True)
class Level:
    """A level at a version: ``latest`` or ``v1.N``."""

    name: str = "privileged"
    version: str = "latest"

    def __str__(self) -> str:
        return f"{self.name}:{self.version}"

    @property
    def minor(self) -> int:
        match = _VERSION.fullmatch(self.version)
        return min(int(match[1]), NEWEST) if match else NEWEST


@dataclass(frozen=True, slots=True)
class Policy:
    enforce: Level
    audit: Level
    warn: Level


def policy(labels: Mapping[str, str]) -> Policy:
    """What the labels ask for. A wrong level is taken as restricted when enforced, as privileged otherwise."""
    found = {}
    for mode in MODES:
        name = labels.get(PREFIX + mode, "privileged")
        if name not in LEVELS:
            name = "restricted" if mode == "enforce" else "privileged"
        version = labels.get(f"{PREFIX}{mode}-version", "latest")
        found[mode] = Level(name, version if _VERSION.fullmatch(version) else "latest")
    if PREFIX + "enforce" in labels and PREFIX + "warn" not in labels:
        # Workloads are never refused, so without this their owners would not hear of what their pods will meet.
        found["warn"] = found["enforce"]
    return Policy(**found)


def causes(labels: Mapping[str, str]) -> Iterator[Cause]:
    """What is wrong with the labels of a namespace."""
    for mode in MODES:
        name, version = labels.get(PREFIX + mode), labels.get(f"{PREFIX}{mode}-version")
        if name is not None and name not in LEVELS:
            yield _invalid(PREFIX + mode, name, f"must be one of {', '.join(LEVELS)}")
        if version is not None and version != "latest" and not _VERSION.fullmatch(version):
            yield _invalid(f"{PREFIX}{mode}-version", version, 'must be "latest" or "v1.x"')


def _invalid(label: str, value: str, message: str) -> Cause:
    return Cause(f"metadata.labels[{label}]", "FieldValueInvalid", f'Invalid value: "{value}": {message}')


def violations(level: Level, metadata: Raw, spec: Raw) -> list[Violation]:
    """What a pod violates of a level, in upstream's order."""
    checks = {"baseline": baseline.CHECKS, "restricted": restricted.CHECKS}.get(level.name, ())
    pod = Pod(metadata, spec, level.minor)
    return [found for check in checks if (found := check(pod)) is not None]
