"""Nodes that pods are promised by others than the scheduler, as upstream's nominated_node_name_test has it."""

from tests.simulation.test_scheduler import PODS, Bed, scheduling

GATE = "example.com/gate"


async def promised(bed: Bed, name: str, cpu: str, where: str, priority: int = 1) -> None:
    """A pod that is not tried before ``let_go``: an API server takes no status of one that is new."""
    container = {"name": "c", "image": "x", "resources": {"requests": {"cpu": cpu}}}
    spec = {"containers": [container], "schedulerName": "default-scheduler", "priority": priority}
    gates = {"schedulingGates": [{"name": GATE}]}
    metadata = {"name": name, "namespace": "default"}
    await bed.api.request("POST", PODS, {"metadata": metadata, "spec": spec | gates})
    await bed.api.set_status(bed.one(name), nominatedNodeName=where)
    assert bed.one(name).status.nominated_node_name == where


async def let_go(bed: Bed, name: str) -> None:
    await bed.api.request("PATCH", f"{PODS}/{name}", {"spec": {"schedulingGates": []}})


async def test_a_pod_goes_to_the_node_that_it_was_promised() -> None:
    async with scheduling() as bed:
        for name in "abc":
            await bed.node(name)
        names = [f"p{number}" for number in range(4)]
        for name in names:
            await promised(bed, name, "400m", "b")
            await let_go(bed, name)

        await bed.until(lambda: bed.where(*names) == ["b"] * 4)


async def test_a_promise_of_a_node_that_is_too_small_is_void() -> None:
    async with scheduling() as bed:
        await bed.node("a", cpu="4")
        await promised(bed, "large", "5", "a")
        await let_go(bed, "large")
        await bed.until(lambda: bed.said("large")[0] == "Unschedulable")
        await bed.until(lambda: not bed.one("large").status.nominated_node_name)

        await bed.pod("fits", cpu="3", priority=1)

        await bed.until(lambda: bed.where("fits") == ["a"])


async def test_who_is_more_important_need_not_respect_a_promise() -> None:
    async with scheduling() as bed:
        await bed.node("a", cpu="2")
        await promised(bed, "low", "2", "a")
        await bed.pod("equal", cpu="2", priority=1)
        await bed.until(lambda: bed.said("equal")[0] == "Unschedulable")

        await bed.pod("high", cpu="2", priority=100)
        await bed.until(lambda: bed.where("high") == ["a"])
        await let_go(bed, "low")

        await bed.until(lambda: bed.said("low")[0] == "Unschedulable")
        await bed.until(lambda: not bed.one("low").status.nominated_node_name)


async def test_making_room_elsewhere_is_another_promise() -> None:
    async with scheduling() as bed:
        await bed.node("a", cpu="4")
        for number in range(2):
            await bed.pod(f"small{number}", cpu="2", priority=1)
        await bed.until(lambda: bed.where("small0", "small1") == ["a", "a"])
        await bed.node("b", cpu="4")
        await bed.pod("large", cpu="3", priority=1)
        await bed.until(lambda: bed.where("large") == ["b"])

        await promised(bed, "urgent", "4", "a", priority=100)
        await let_go(bed, "urgent")

        await bed.until(lambda: bed.one("urgent").status.nominated_node_name == "b")
        await bed.until(lambda: bed.one("large").metadata.deletion_timestamp)
        assert not any(bed.one(name).metadata.deletion_timestamp for name in ("small0", "small1"))
