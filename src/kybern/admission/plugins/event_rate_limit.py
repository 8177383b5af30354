"""Events come at no more than a rate: of all, of a namespace, of a user, or of what an event is about. Off by default.

Upstream's ``plugin/pkg/admission/eventratelimit`` and its Configuration (eventratelimit.admission.k8s.io/v1alpha1), which
has to be given. Events of events.k8s.io are limited, too, in the same buckets: upstream passes those by.
"""

import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from kybern.admission.framework import Plugin, Request
from kybern.machinery.errors import TooManyRequests
from kybern.machinery.kind import Raw

GROUP = "eventratelimit.admission.k8s.io"
KNOWN = 4096
"""So many buckets of a limit are remembered when it does not say (upstream's number)."""

type Clock = Callable[[], float]


@dataclass(slots=True)
class Bucket:
    """What may still come at once: full at first, and filled by ``qps`` a second."""

    tokens: float
    at: float

    def take(self, now: float, qps: float, burst: float) -> bool:
        self.tokens = min(burst, self.tokens + (now - self.at) * qps)
        self.at = now
        if self.tokens < 1:
            return False
        self.tokens -= 1
        return True


@dataclass(slots=True)
class Limit:
    """One of the configuration's limits. Of its buckets, the one used longest ago is forgotten first."""

    type: str
    qps: int
    burst: int
    size: int
    _buckets: OrderedDict[str, Bucket] = field(default_factory=OrderedDict)

    def accepts(self, request: Request, now: float) -> str | None:
        """None, or the key whose bucket is empty."""
        key = KEYS[self.type](request)
        bucket = self._buckets.pop(key, None) or Bucket(self.burst, now)
        self._buckets[key] = bucket
        if len(self._buckets) > self.size:
            self._buckets.popitem(last=False)
        return None if bucket.take(now, self.qps, self.burst) else key


def _about(request: Request) -> str:
    event = request.new or {}
    source = event.get("source") or event.get("deprecatedSource") or {}
    about = event.get("involvedObject") or event.get("regarding") or {}
    fields = ("kind", "namespace", "name", "uid", "apiVersion")
    return "".join(
        (source.get("component", ""), source.get("host", ""), *(about.get(one, "") for one in fields))
    )


KEYS: Mapping[str, Callable[[Request], str]] = {
    "Server": lambda _request: "",
    "Namespace": lambda request: request.namespace,
    "User": lambda request: request.user.name,
    "SourceAndObject": _about,
}


def limits(configuration: Raw) -> Sequence[Limit]:
    """Raises ValueError with upstream's words."""
    if configuration.get("kind") not in (None, "Configuration") or configuration.get("apiVersion") not in (
        None,
        f"{GROUP}/v1alpha1",
    ):
        raise ValueError(f"its configuration is no Configuration of {GROUP}/v1alpha1")
    found = configuration.get("limits") or []
    problems = [] if found else ["limits: Invalid value: null: must not be empty"]
    for at, one in enumerate(found):
        problems += _wrong(f"limits[{at}]", one)
    if problems:
        raise ValueError(problems[0] if len(problems) == 1 else f"[{', '.join(problems)}]")
    return [Limit(one["type"], one["qps"], one["burst"], one.get("cacheSize") or KNOWN) for one in found]


def _wrong(path: str, limit: Any) -> Iterator[str]:
    if not isinstance(limit, Mapping):
        yield f'{path}: Invalid value: "{limit}": must be an object'
        return
    if limit.get("type") not in KEYS:
        supported = ", ".join(f'"{one}"' for one in sorted(KEYS))
        yield f'{path}.type: Unsupported value: "{limit.get("type", "")}": supported values: {supported}'
    for name in ("burst", "qps"):
        value = limit.get(name, 0)
        if not isinstance(value, int) or value <= 0:
            yield f"{path}.{name}: Invalid value: {value}: must be positive"
    size = limit.get("cacheSize", 0)
    if limit.get("type") != "Server" and (not isinstance(size, int) or size < 0):
        yield f"{path}.cacheSize: Invalid value: {size}: must not be negative"


def configured(configuration: Raw, clock: Clock = time.monotonic) -> Plugin:
    """The plugin with these limits. Raises ValueError."""
    given = limits(configuration)

    async def validate(request: Request) -> None:
        if request.new is None or request.operation not in ("CREATE", "UPDATE"):
            return
        now = clock()
        # Each limit is asked, so that one event counts in all of them; the last that refuses is told.
        for limit, key in [(one, one.accepts(request, now)) for one in given][::-1]:
            if key is not None:
                raise TooManyRequests(f"Too many requests: limit reached on type {limit.type} for key {key}")

    return replace(PLUGIN, validate=validate, configure=None)


PLUGIN = Plugin(
    "EventRateLimit",
    default=False,
    resources=frozenset({("", "events"), ("events.k8s.io", "events")}),
    configure=configured,
)
