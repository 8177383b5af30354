"""Whether flow schemas name a priority level that is there."""

from typing import Any

import pytest

from kybern.apiserver.bootstrap import FLOW_CONTROL
from kybern.apiserver.dangling import MANAGER, Dangling, judged, wrong
from kybern.apiserver.generic import get
from kybern.apiserver.local import Local
from kybern.apiserver.lookup import Informers
from kybern.storage.value import decoded

FOUND = 'This FlowSchema references the PriorityLevelConfiguration object named "a" and it exists'
MISSING = (
    'This FlowSchema references the PriorityLevelConfiguration object named "a" but there is no such object'
)


def schema(name: str, level: str, *conditions: dict[str, Any]) -> dict[str, Any]:
    return {
        "metadata": {"name": name},
        "spec": {"priorityLevelConfiguration": {"name": level}},
        "status": {"conditions": list(conditions)},
    }


@pytest.mark.parametrize(
    ("there", "status", "reason", "message"),
    [(True, "False", "Found", FOUND), (False, "True", "NotFound", MISSING)],
)
def test_the_condition_is_in_upstreams_words(there: bool, status: str, reason: str, message: str) -> None:
    want = {"type": "Dangling", "status": status, "reason": reason, "message": message}

    assert judged("a", there=there) == want


def test_only_schemas_that_say_something_else_are_written() -> None:
    right, gone = judged("a", there=True), judged("b", there=True)
    schemas = [schema("right", "a", right), schema("new", "a"), schema("late", "b", gone)]

    found = dict(wrong(schemas, [{"metadata": {"name": "a"}}]))

    assert found == {"new": right, "late": judged("b", there=False)}


async def test_a_condition_is_applied_and_comes_to_rest(make: Any, call: Any, engine: Any) -> None:
    wish = {"priorityLevelConfiguration": {"name": "a"}, "matchingPrecedence": 9}
    await make("flowschemas", {"metadata": {"name": "s"}, "spec": wish}, FLOW_CONTROL)
    loop = Dangling(Local(engine), Informers(engine.caches, engine.table))

    await loop.look()
    once = decoded((await get.get(call("flowschemas", "s", FLOW_CONTROL))).body)
    await loop.look()
    twice = decoded((await get.get(call("flowschemas", "s", FLOW_CONTROL))).body)

    assert [one["status"] for one in once["status"]["conditions"]] == ["True"]
    by = [entry for entry in once["metadata"]["managedFields"] if entry["manager"] == MANAGER]
    assert [(entry["operation"], entry["subresource"]) for entry in by] == [("Apply", "status")]
    assert once == twice
