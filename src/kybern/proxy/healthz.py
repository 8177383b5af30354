"""How the proxy is, as load balancers and probes of the node ask it (KEP-3836, pkg/proxy/healthcheck/proxy_health.go).

/healthz says whether traffic should come to this node: not while the rules are late, nor when the node is about to go.
/livez says whether the daemon works, whatever becomes of the node.
"""

import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

from aiohttp import web
from prometheus_client import Counter

from kybern.api.core_v1 import Node
from kybern.proxy import metrics

TO_BE_DELETED = (
    "ToBeDeletedByClusterAutoscaler"  # the taint of a node that the autoscaler is about to take away
)


def is_eligible(node: Node) -> bool:
    """Whether new connections should be led to a node."""
    return not node.metadata.deletion_timestamp and all(one.key != TO_BE_DELETED for one in node.spec.taints)


class Healthz:
    """The answers. ``is_late`` and ``updated`` tell of the rules, the latter in seconds since 1970; 0 before the first."""

    def __init__(
        self, is_late: Callable[[], bool], updated: Callable[[], float], is_welcome: Callable[[], bool]
    ) -> None:
        self._is_late, self._updated, self._is_welcome = is_late, updated, is_welcome

    def add_to(self, app: web.Application) -> None:
        app.router.add_get("/healthz", self._answers(metrics.HEALTHZ, asks_node=True))
        app.router.add_get("/livez", self._answers(metrics.LIVEZ, asks_node=False))

    def _answers(
        self, counter: Counter, *, asks_node: bool
    ) -> Callable[[web.Request], Awaitable[web.Response]]:
        async def answer(_request: web.Request) -> web.Response:
            late, now = self._is_late(), time.time()
            body: dict[str, object] = {
                # While all is well it is always of now, as it was when rules were written whether or not they changed.
                "lastUpdated": _told(self._updated() if late else now),
                "currentTime": _told(now),
            }
            if asks_node:
                body["nodeEligible"] = self._is_welcome()
            status = 503 if late or (asks_node and not self._is_welcome()) else 200
            counter.labels(str(status)).inc()
            return web.json_response(body, status=status, headers={"X-Content-Type-Options": "nosniff"})

        return answer


def _told(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S.%f} +0000 UTC"
