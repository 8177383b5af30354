"""Workloads: every wish was seen, and there are as many ready pods as are wanted, where they are wanted."""

from collections import Counter
from collections.abc import Iterator

from tests.simulation.plane.world import Outside, Raw, World, is_over, is_ready, place, says, shown


def followed(world: World, _outside: Outside) -> Iterator[str]:
    """Every controller has seen the newest wish."""
    for kind in ("Deployment", "ReplicaSet", "StatefulSet", "DaemonSet", "ReplicationController"):
        for one in world.of(kind):
            yield from says(one, observedGeneration=one["metadata"]["generation"])


def _running(world: World, owner: Raw) -> list[Raw]:
    return [pod for pod in world.owned("Pod", owner) if not is_over(pod)]


def _sized(world: World, one: Raw) -> Iterator[str]:
    """As many ready pods as are wanted, and the status says so."""
    wanted, pods = one["spec"]["replicas"], _running(world, one)
    if len(pods) != wanted or not all(map(is_ready, pods)):
        yield f"{shown(one)} wants {wanted} pods and has {len(pods)}, {sum(map(is_ready, pods))} of them ready"
    yield from says(one, replicas=wanted, readyReplicas=wanted, availableReplicas=wanted)


def replicas(world: World, _outside: Outside) -> Iterator[str]:
    for kind in ("ReplicaSet", "ReplicationController"):
        for one in world.of(kind):
            yield from _sized(world, one)


def deployments(world: World, _outside: Outside) -> Iterator[str]:
    for one in world.of("Deployment"):
        wanted, sets = one["spec"]["replicas"], world.owned("ReplicaSet", one)
        live = [each for each in sets if each["spec"]["replicas"]]
        image = one["spec"]["template"]["spec"]["containers"][0]["image"]
        for each in live:
            if each["spec"]["template"]["spec"]["containers"][0]["image"] != image:
                yield f"{shown(one)} still runs {shown(each)} of another template"
        if [each["spec"]["replicas"] for each in live] != ([wanted] if wanted else []):
            yield f"{shown(one)} wants {wanted} and its replica sets {[each['spec']['replicas'] for each in live]}"
        yield from says(
            one, replicas=wanted, updatedReplicas=wanted, readyReplicas=wanted, availableReplicas=wanted
        )


def stateful(world: World, _outside: Outside) -> Iterator[str]:
    for one in world.of("StatefulSet"):
        yield from _sized(world, one)
        wanted = {f"{one['metadata']['name']}-{number}" for number in range(one["spec"]["replicas"])}
        found = {place(pod)[1] for pod in world.owned("Pod", one)}
        if found != wanted:
            yield f"{shown(one)} has {sorted(found ^ wanted)} too many or too few"
        yield from says(one, currentReplicas=len(wanted), updatedReplicas=len(wanted))


def daemons(world: World, _outside: Outside) -> Iterator[str]:
    names = {place(node)[1] for node in world.of("Node")}
    for one in world.of("DaemonSet"):
        on = Counter(_node_of(pod) for pod in world.owned("Pod", one))
        if set(on) != names or max(on.values(), default=1) > 1:
            yield f"{shown(one)} is not once on every node: {dict(on - Counter(names))}, {sorted(names - set(on))}"
        yield from says(one, desiredNumberScheduled=len(names), currentNumberScheduled=len(names))
        yield from says(one, numberReady=len(names), numberAvailable=len(names), numberMisscheduled=0)


def _node_of(pod: Raw) -> str:
    if name := pod["spec"].get("nodeName"):
        return str(name)
    terms = pod["spec"]["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    return str(terms["nodeSelectorTerms"][0]["matchFields"][0]["values"][0])
