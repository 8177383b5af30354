"""Which taints a pod bears."""

from typing import Any

import pytest

from kybern.api.core_v1 import Taint, Toleration
from kybern.api.tolerations import tolerated, tolerates

TAINT = Taint(key="cores", value="8", effect="NoExecute")


@pytest.mark.parametrize(
    ("given", "result"),
    [
        ({"key": "cores", "operator": "Exists"}, True),
        ({"key": "cores", "operator": "Exists", "effect": "NoExecute"}, True),
        ({"key": "cores", "operator": "Exists", "effect": "NoSchedule"}, False),
        ({"key": "other", "operator": "Exists"}, False),
        ({"operator": "Exists"}, True),
        ({"key": "cores", "operator": "Equal", "value": "8"}, True),
        ({"key": "cores", "value": "8"}, True),
        ({"key": "cores", "value": "9"}, False),
        ({"key": "cores"}, False),
        ({"key": "cores", "operator": "Lt", "value": "9"}, True),
        ({"key": "cores", "operator": "Lt", "value": "8"}, False),
        ({"key": "cores", "operator": "Gt", "value": "7"}, True),
        ({"key": "cores", "operator": "Gt", "value": "8"}, False),
        ({"key": "cores", "operator": "Gt", "value": "many"}, False),
    ],
)
def test_what_a_toleration_bears(given: dict[str, Any], result: bool) -> None:
    found = Toleration(**given)

    assert tolerates(found, TAINT) is result
    assert tolerated(TAINT, (Toleration(key="else", operator="Exists"), found)) is result
