"""What load balancers and the node's own probes are told of the proxy."""

from datetime import UTC, datetime
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from prometheus_client import CollectorRegistry

from kybern.api.core_v1 import Node, NodeSpec, Taint
from kybern.api.meta_v1 import ObjectMeta
from kybern.proxy import metrics
from kybern.proxy.healthz import Healthz, is_eligible

TOLD = CollectorRegistry()
metrics.register("nftables", TOLD)
LEAVING = Taint(key="ToBeDeletedByClusterAutoscaler", effect="NoSchedule")


@pytest.mark.parametrize(
    ("node", "eligible"),
    [
        (Node(), True),
        (Node(spec=NodeSpec(unschedulable=True, taints=(Taint(key="other", effect="NoExecute"),))), True),
        (Node(spec=NodeSpec(taints=(LEAVING,))), False),
        (Node(metadata=ObjectMeta(deletion_timestamp=datetime.now(UTC))), False),
    ],
)
def test_a_node_that_is_about_to_go_wants_no_new_connections(node: Node, *, eligible: bool) -> None:
    assert is_eligible(node) == eligible


def counted(path: str, code: int) -> float:
    return TOLD.get_sample_value(f"kubeproxy_proxy_{path}_total", {"code": str(code)}) or 0.0


@pytest.mark.parametrize(
    ("late", "welcome", "healthz", "livez"),
    [(False, True, 200, 200), (False, False, 503, 200), (True, True, 503, 503), (True, False, 503, 503)],
)
async def test_healthz_asks_for_the_node_and_livez_does_not(
    *, late: bool, welcome: bool, healthz: int, livez: int
) -> None:
    app = web.Application()
    Healthz(lambda: late, lambda: 0.0, lambda: welcome).add_to(app)

    async with TestClient(TestServer(app)) as client:
        for path, code in (("healthz", healthz), ("livez", livez)):
            before = counted(path, code)
            answer = await client.get(f"/{path}")
            body: dict[str, Any] = await answer.json()
            assert (answer.status, counted(path, code)) == (code, before + 1)
            assert body.get("nodeEligible") == (welcome if path == "healthz" else None)
            assert (body["lastUpdated"] == body["currentTime"]) == (not late)
            if late:
                assert body["lastUpdated"].startswith("1970-01-01 00:00:00")
