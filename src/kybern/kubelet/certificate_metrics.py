"""What is shown of the kubelet's own certificates; names and texts are upstream's (pkg/kubelet/certificate)."""

import math
from collections.abc import Callable
from datetime import UTC, datetime

from prometheus_client import Gauge, Histogram

_TTL = (
    "Gauge of the {}TTL (time-to-live) of the Kubelet's {} certificate. The value is in seconds until certificate expiry "
    "(negative if already expired). If {} certificate is invalid or unused, the value will be +INF."
)
_ERRORS = "Counter of certificate renewal errors."
_MINUTE, _HOUR, _DAY = 60.0, 3600.0, 86400.0

# Counters of upstream's whose names do not end in _total: the library would add it.
CLIENT_ERRORS = Gauge("kubelet_certificate_manager_client_expiration_renew_errors", _ERRORS)
SERVER_ERRORS = Gauge("kubelet_server_expiration_renew_errors", _ERRORS)
SERVER_ROTATION = Histogram(
    "kubelet_certificate_manager_server_rotation_seconds",
    "Histogram of the number of seconds the previous certificate lived before being rotated.",
    buckets=(
        _MINUTE, _HOUR, 4 * _HOUR, _DAY, 7 * _DAY, 30 * _DAY, 90 * _DAY, 180 * _DAY, 360 * _DAY, 1440 * _DAY,
    ),
)  # fmt: skip


class Ends:
    """When a certificate ends, for a gauge that counts down to it."""

    def __init__(self, gauge: Gauge) -> None:
        self.at: datetime | None = None
        gauge.set_function(self._left)

    def _left(self) -> float:
        return math.inf if self.at is None else left(self.at, lambda: datetime.now(UTC))


def left(end: datetime, now: Callable[[], datetime]) -> float:
    """Whole seconds, towards zero; negative when it is over. Pure."""
    return float(math.trunc((end - now()).total_seconds()))


CLIENT_ENDS = Ends(
    Gauge("kubelet_certificate_manager_client_ttl_seconds", _TTL.format("", "client", "client"))
)
SERVER_ENDS = Ends(
    Gauge("kubelet_certificate_manager_server_ttl_seconds", _TTL.format("shortest ", "serving", "serving"))
)
