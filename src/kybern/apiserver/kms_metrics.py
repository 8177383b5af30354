"""Upstream's metrics of key management services: their calls, and which keys they named and values were found under."""

from collections.abc import Callable, Iterator

from prometheus_client import REGISTRY, Counter, Gauge, Histogram
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from kybern.apiserver.reloads import server
from kybern.storage.encryption.kms import Kms, key_hash

_NAME = "apiserver_envelope_encryption"
_USE = ("transformation_type", "provider_name", "key_id_hash", "apiserver_id_hash")

_latency = Histogram(
    f"{_NAME}_kms_operations_latency_seconds",
    "Time that calls of key management services took.",
    ("provider_name", "method_name", "grpc_status_code"),
    buckets=tuple(0.0001 * 2**power for power in range(14)),
)
_uses = Counter(f"{_NAME}_key_id_hash", "How often values were sealed or opened under a key.", _USE)
_used = Gauge(f"{_NAME}_key_id_hash_last_timestamp_seconds", "When a key was last used.", _USE)
_named = Gauge(
    f"{_NAME}_key_id_hash_status_last_timestamp_seconds",
    "When a key management service last named a key.",
    ("provider_name", "key_id_hash", "apiserver_id_hash"),
)
_invalid = Counter(
    f"{_NAME}_invalid_key_id_from_status",
    "Keys that were named and cannot be used.",
    ("provider_name", "error"),
)


def used(provider: str) -> Callable[[str, str], None]:
    """Notes uses of keys: to_storage or from_storage, and the key."""

    def note(what: str, key_id: str) -> None:
        labels = (what, provider, key_hash(key_id), server())
        _uses.labels(*labels).inc()
        _used.labels(*labels).set_to_current_time()

    return note


def timed(provider: str) -> Callable[[str, str, float], None]:
    """Notes calls: the method, gRPC's status, seconds."""
    return lambda method, status, seconds: _latency.labels(provider, method, status).observe(seconds)


def named(provider: str) -> Callable[[str, str], None]:
    """Notes keys that a service names, and what is wrong with them."""

    def note(key_id: str, problem: str) -> None:
        if problem:
            _invalid.labels(provider, problem).inc()
        else:
            _named.labels(provider, key_hash(key_id), server()).set_to_current_time()

    return note


class _Seeds(Collector):
    """How many seeds are in memory, by service."""

    def __init__(self) -> None:
        self._known: dict[str, Kms] = {}

    def follow(self, provider: str, kms: Kms) -> None:
        self._known[provider] = kms

    def collect(self) -> Iterator[Metric]:
        family = GaugeMetricFamily(
            f"{_NAME}_dek_source_cache_size", "Seeds and keys in memory.", labels=("provider_name",)
        )
        for provider, kms in self._known.items():
            family.add_metric((provider,), kms.known)
        yield family


SEEDS = _Seeds()
REGISTRY.register(SEEDS)
