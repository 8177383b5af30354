"""Nothing is left over of what is gone."""

from collections.abc import Iterator

from tests.simulation.plane.world import Outside, World, controller, place, shown


def left(world: World, _outside: Outside) -> Iterator[str]:
    """Nothing is on its way out, and nothing is left of a namespace or a service that is gone."""
    namespaces = {place(one)[1] for one in world.of("Namespace")}
    services = {place(one) for one in world.of("Service")}
    for one in world.all():
        namespace = place(one)[0]
        if namespace and namespace not in namespaces and one["kind"] != "Event":
            yield f"{shown(one)} is in a namespace that is gone"
        if one["metadata"].get("deletionTimestamp"):
            yield f"{shown(one)} is still being deleted"
        if one["kind"] == "Endpoints" and place(one) not in services:
            yield f"{shown(one)} has no service"


def orphans(world: World, _outside: Outside) -> Iterator[str]:
    """Owners are there, and pods have one."""
    for one in world.all():
        for owner in one["metadata"].get("ownerReferences") or ():
            if owner["uid"] not in world.uids:
                yield f"{shown(one)} belongs to {owner['kind']} {owner['name']}, which is gone"
        if one["kind"] in ("Pod", "ReplicaSet") and controller(one) is None:
            yield f"{shown(one)} belongs to nobody"
