"""What is told of the time that admission takes: by step, and by plugin."""

import pytest
from prometheus_client import REGISTRY

from kybern.admission.chain import Chain
from kybern.admission.framework import Again, Plugin, Request, refused
from kybern.machinery.errors import Forbidden
from tests.unit.admission.writes import named, write

STEP = "apiserver_admission_step_admission_duration_seconds"
PLUGIN = "apiserver_admission_controller_admission_duration_seconds"


def _count(metric: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(f"{metric}_count", labels) or 0.0


async def _nothing(_request: Request) -> None:
    return


async def _refuses(request: Request) -> None:
    raise refused(request, "no")


async def test_time_is_told_by_step_and_by_plugin() -> None:
    chain = Chain([Plugin("Timed", mutate=_nothing, validate=_nothing), Plugin("Mutes", mutate=_nothing)])
    told = [
        (PLUGIN, {"name": "Timed", "type": "admit", "operation": "CREATE", "rejected": "false"}),
        (PLUGIN, {"name": "Timed", "type": "validate", "operation": "CREATE", "rejected": "false"}),
        (PLUGIN, {"name": "Mutes", "type": "admit", "operation": "CREATE", "rejected": "false"}),
        (PLUGIN, {"name": "Mutes", "type": "validate", "operation": "CREATE", "rejected": "false"}),
        (STEP, {"type": "admit", "operation": "CREATE", "rejected": "false"}),
        (STEP, {"type": "validate", "operation": "CREATE", "rejected": "false"}),
    ]
    before = [_count(name, **labels) for name, labels in told]
    request = write("CREATE", "pods", named("p"))

    await chain.mutate(request)
    await chain.validate(request)

    after = [_count(name, **labels) for name, labels in told]
    assert [now - then for now, then in zip(after, before, strict=True)] == [1, 1, 1, 0, 1, 1]


async def test_who_refuses_is_told_and_who_comes_after_is_not() -> None:
    chain = Chain([Plugin("Refuses", mutate=_refuses), Plugin("Unasked", mutate=_nothing)])
    labels = {"type": "admit", "operation": "DELETE", "rejected": "true"}
    before = _count(STEP, **labels)

    with pytest.raises(Forbidden):
        await chain.mutate(write("DELETE", "pods", named("p")))

    assert _count(PLUGIN, name="Refuses", **labels) == 1
    assert _count(PLUGIN, name="Refuses", **labels | {"rejected": "false"}) == 0
    assert _count(PLUGIN, name="Unasked", **labels | {"rejected": "false"}) == 0
    assert _count(STEP, **labels) == before + 1


async def test_a_second_round_is_a_second_time_of_a_plugin_and_the_same_step() -> None:
    chain = Chain([Plugin("Twice", mutate=_nothing)])
    labels = {"type": "admit", "operation": "UPDATE", "rejected": "false"}
    before = _count(STEP, **labels)
    request = write("UPDATE", "pods", named("p"), named("p"))
    request.again = Again(wanted=True)

    await chain.mutate(request)

    assert _count(PLUGIN, name="Twice", **labels) == 2
    assert _count(STEP, **labels) == before + 1
