"""How the checks of a daemon's health went, as upstream's /metrics/slis tells it: the last time, and how often each way.

Counted when somebody asks for all checks of /healthz, /livez or /readyz; a registry of their own keeps them apart from the
other metrics, since they are read far more often.
"""

from prometheus_client import CollectorRegistry, Counter, Gauge

REGISTRY = CollectorRegistry()
_NOW = Gauge(
    "kubernetes_healthcheck",
    "This metric records the result of a single healthcheck.",
    ("name", "type"),
    registry=REGISTRY,
)
_EVER = Counter(
    "kubernetes_healthchecks",
    "This metric records the results of all healthcheck.",
    ("name", "status", "type"),
    registry=REGISTRY,
)


def observe(endpoint: str, name: str, *, good: bool) -> None:
    """Note one result; ``endpoint`` is healthz, livez or readyz."""
    _NOW.labels(name, endpoint).set(good)
    _EVER.labels(name, "success" if good else "error", endpoint).inc()
