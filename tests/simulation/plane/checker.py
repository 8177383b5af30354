"""Whether a cluster at rest is as it should be; pure: objects in, sentences about what is wrong out.

Everything is worked out anew from what users asked for and from the pods and nodes that there are, with no code of the
controllers. To look at one thing more: a function, and its line in CHECKS.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from math import ceil

from kybern.machinery.quantity import parse
from tests.simulation.plane.mix import TARGET
from tests.simulation.plane.world import (
    ZERO,
    Raw,
    World,
    asks,
    bears,
    condition,
    controller,
    is_over,
    is_ready,
    place,
    shown,
    status,
)


@dataclass(frozen=True, slots=True)
class Outside:
    """What the objects do not tell: loads by namespace and app, and starts that cron jobs had."""

    loads: Mapping[tuple[str, str], int] = field(default_factory=dict)
    due: Mapping[tuple[str, str], str] = field(default_factory=dict)


def wrong(world: World, outside: Outside) -> list[str]:
    """Empty when nothing is."""
    return [text for check in CHECKS for text in check(world, outside)]


def _says(one: Raw, **wanted: int) -> Iterator[str]:
    for name, number in wanted.items():
        if status(one, name) != number:
            yield f"{shown(one)} says {name} {status(one, name)}, and it is {number}"


def _followed(world: World, _outside: Outside) -> Iterator[str]:
    """Every controller has seen the newest wish."""
    for kind in ("Deployment", "ReplicaSet", "StatefulSet", "DaemonSet", "ReplicationController"):
        for one in world.of(kind):
            yield from _says(one, observedGeneration=one["metadata"]["generation"])


def _running(world: World, owner: Raw) -> list[Raw]:
    return [pod for pod in world.owned("Pod", owner) if not is_over(pod)]


def _sized(world: World, one: Raw) -> Iterator[str]:
    """As many ready pods as are wanted, and the status says so."""
    wanted, pods = one["spec"]["replicas"], _running(world, one)
    if len(pods) != wanted or not all(map(is_ready, pods)):
        yield f"{shown(one)} wants {wanted} pods and has {len(pods)}, {sum(map(is_ready, pods))} of them ready"
    yield from _says(one, replicas=wanted, readyReplicas=wanted, availableReplicas=wanted)


def _replicas(world: World, _outside: Outside) -> Iterator[str]:
    for kind in ("ReplicaSet", "ReplicationController"):
        for one in world.of(kind):
            yield from _sized(world, one)


def _deployments(world: World, _outside: Outside) -> Iterator[str]:
    for one in world.of("Deployment"):
        wanted, sets = one["spec"]["replicas"], world.owned("ReplicaSet", one)
        live = [each for each in sets if each["spec"]["replicas"]]
        image = one["spec"]["template"]["spec"]["containers"][0]["image"]
        for each in live:
            if each["spec"]["template"]["spec"]["containers"][0]["image"] != image:
                yield f"{shown(one)} still runs {shown(each)} of another template"
        if [each["spec"]["replicas"] for each in live] != ([wanted] if wanted else []):
            yield f"{shown(one)} wants {wanted} and its replica sets {[each['spec']['replicas'] for each in live]}"
        yield from _says(
            one, replicas=wanted, updatedReplicas=wanted, readyReplicas=wanted, availableReplicas=wanted
        )


def _stateful(world: World, _outside: Outside) -> Iterator[str]:
    for one in world.of("StatefulSet"):
        yield from _sized(world, one)
        wanted = {f"{one['metadata']['name']}-{number}" for number in range(one["spec"]["replicas"])}
        found = {place(pod)[1] for pod in world.owned("Pod", one)}
        if found != wanted:
            yield f"{shown(one)} has {sorted(found ^ wanted)} too many or too few"
        yield from _says(one, currentReplicas=len(wanted), updatedReplicas=len(wanted))


def _daemons(world: World, _outside: Outside) -> Iterator[str]:
    names = {place(node)[1] for node in world.of("Node")}
    for one in world.of("DaemonSet"):
        on = Counter(_node_of(pod) for pod in world.owned("Pod", one))
        if set(on) != names or max(on.values(), default=1) > 1:
            yield f"{shown(one)} is not once on every node: {dict(on - Counter(names))}, {sorted(names - set(on))}"
        yield from _says(one, desiredNumberScheduled=len(names), currentNumberScheduled=len(names))
        yield from _says(one, numberReady=len(names), numberAvailable=len(names), numberMisscheduled=0)


def _node_of(pod: Raw) -> str:
    if name := pod["spec"].get("nodeName"):
        return str(name)
    terms = pod["spec"]["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    return str(terms["nodeSelectorTerms"][0]["matchFields"][0]["values"][0])


def _jobs(world: World, _outside: Outside) -> Iterator[str]:
    for one in world.of("Job"):
        if condition(one, "Complete") != "True":
            yield f"{shown(one)} is not complete"
        yield from _says(one, succeeded=one["spec"]["completions"], active=0)
        held = [shown(pod) for pod in world.owned("Pod", one) if pod["metadata"].get("finalizers")]
        if held:
            yield f"{shown(one)} holds {held}"


def _crons(world: World, outside: Outside) -> Iterator[str]:
    for one in world.of("CronJob"):
        made, due = world.owned("Job", one), outside.due.get(place(one))
        if len(made) != (due is not None) or (one.get("status") or {}).get("lastScheduleTime") != due:
            yield f"{shown(one)} was due at {due}, and made {[shown(job) for job in made]}"
        if (one.get("status") or {}).get("active"):
            yield f"{shown(one)} says that a job is active"


def _autoscalers(world: World, outside: Outside) -> Iterator[str]:
    """The share of each pod is within the tolerance of a tenth of its target."""
    for one in world.of("HorizontalPodAutoscaler"):
        namespace, name = place(one)
        target = world.one("Deployment", namespace, name)
        if target is None:
            yield f"{shown(one)} has nothing to scale"
            continue
        now, load = target["spec"]["replicas"], outside.loads[namespace, name]
        fine = abs(load / now / TARGET - 1) <= 0.1 or now == min(
            ceil(load / TARGET), one["spec"]["maxReplicas"]
        )
        if not fine:
            yield f"{shown(one)} keeps {now} pods for a load of {load} millicores"
        yield from _says(one, currentReplicas=now, desiredReplicas=now)


def _budgets(world: World, _outside: Outside) -> Iterator[str]:
    for one in world.of("PodDisruptionBudget"):
        spec, namespace = one["spec"], place(one)[0]
        pods = [pod for pod in world.pods(namespace, spec["selector"]["matchLabels"]) if not is_over(pod)]
        total, healthy = len(pods), sum(map(is_ready, pods))
        if spec.get("minAvailable") is not None:
            desired = _scaled(spec["minAvailable"], total)
        else:
            desired = max(0, total - _scaled(spec["maxUnavailable"], total))
        yield from _says(one, expectedPods=total, currentHealthy=healthy, desiredHealthy=desired)
        yield from _says(one, disruptionsAllowed=max(0, healthy - desired))


def _scaled(given: int | str, total: int) -> int:
    return ceil(int(given[:-1]) * total / 100) if isinstance(given, str) else given


def _nodes(world: World, _outside: Outside) -> Iterator[str]:
    """Every node that is left is fit for work, and has pod addresses of its own."""
    ranges: Counter[str] = Counter()
    for node in world.of("Node"):
        taints = sorted(taint["key"] for taint in node["spec"].get("taints") or ())
        if condition(node, "Ready") != "True" or taints:
            yield f"{shown(node)} says Ready {condition(node, 'Ready')} and has taints {taints}"
        ranges[node["spec"].get("podCIDR", "")] += 1
    if ranges and (max(ranges.values()) > 1 or "" in ranges):
        yield f"nodes share pod networks or have none: {[one for one, count in ranges.items() if count > 1]}"


def _placed(world: World, _outside: Outside) -> Iterator[str]:
    """Every pod is on a node that is there and that it selects."""
    nodes = {place(node)[1]: node for node in world.of("Node")}
    for pod in world.of("Pod"):
        node = nodes.get(pod["spec"].get("nodeName", ""))
        if node is None:
            yield f"{shown(pod)} is on no node: {pod['spec'].get('nodeName', '')!r}"
        elif not bears(node, pod["spec"].get("nodeSelector") or {}):
            yield f"{shown(pod)} is on {shown(node)}, which it does not select"


def _room(world: World, _outside: Outside) -> Iterator[str]:
    """No node has more pods than it has room for."""
    on: defaultdict[str, list[Raw]] = defaultdict(list)
    for pod in world.of("Pod"):
        if not is_over(pod):
            on[pod["spec"].get("nodeName", "")].append(pod)
    for node in world.of("Node"):
        pods, room = on[place(node)[1]], node["status"]["allocatable"]
        for resource in ("cpu", "memory"):
            asked = sum((asks(pod, resource) for pod in pods), ZERO)
            if asked > parse(room[resource]):
                yield f"pods on {shown(node)} ask for {asked} {resource} of {room[resource]}"
        if len(pods) > int(room["pods"]):
            yield f"{shown(node)} has {len(pods)} pods"


def _apart(world: World, _outside: Outside) -> Iterator[str]:
    """Pods that must not be with others on a node are not."""
    for pod in world.of("Pod"):
        rules = ((pod["spec"].get("affinity") or {}).get("podAntiAffinity") or {}).get(
            "requiredDuringSchedulingIgnoredDuringExecution"
        )
        for term in rules or ():
            near = world.pods(place(pod)[0], term["labelSelector"]["matchLabels"])
            beside = [one for one in near if one["spec"].get("nodeName") == pod["spec"].get("nodeName")]
            if len(beside) > 1:
                yield f"{shown(pod)} is beside {[shown(one) for one in beside if one is not pod]}"


def _addresses(world: World, _outside: Outside) -> Iterator[str]:
    given = Counter(pod["status"]["podIP"] for pod in world.of("Pod") if pod["status"].get("podIP"))
    for address, count in given.items():
        if count > 1:
            yield f"{count} pods have the address {address}"


def _endpoints(world: World, _outside: Outside) -> Iterator[str]:
    """Services lead to exactly the ready pods that they select."""
    slices: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
    for one in world.of("EndpointSlice"):
        service = one["metadata"]["labels"]["kubernetes.io/service-name"]
        for endpoint in one.get("endpoints") or ():
            if endpoint["conditions"].get("ready"):
                slices[place(one)[0], service] += endpoint["addresses"]
    listed = {
        place(one): [
            address["ip"] for part in one.get("subsets") or () for address in part.get("addresses") or ()
        ]
        for one in world.of("Endpoints")
    }
    for service in world.of("Service"):
        chosen = service["spec"].get("selector")
        if not chosen:
            continue
        ready = [pod for pod in world.pods(place(service)[0], chosen) if is_ready(pod) and not is_over(pod)]
        wanted = sorted(pod["status"]["podIP"] for pod in ready)
        for sort, found in (
            ("slices", slices[place(service)]),
            ("endpoints", listed.get(place(service), [])),
        ):
            if sorted(found) != wanted:
                yield f"{shown(service)}: its {sort} have {sorted(found)}, and ready are {wanted}"


def _left(world: World, _outside: Outside) -> Iterator[str]:
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


def _orphans(world: World, _outside: Outside) -> Iterator[str]:
    """Owners are there, and pods have one."""
    for one in world.all():
        for owner in one["metadata"].get("ownerReferences") or ():
            if owner["uid"] not in world.uids:
                yield f"{shown(one)} belongs to {owner['kind']} {owner['name']}, which is gone"
        if one["kind"] in ("Pod", "ReplicaSet") and controller(one) is None:
            yield f"{shown(one)} belongs to nobody"


def _quotas(world: World, _outside: Outside) -> Iterator[str]:
    """What is said to be used is what is there, to the last millicore."""
    kinds = {
        "count/deployments.apps": "Deployment", "services": "Service", "count/jobs.batch": "Job",
    }  # fmt: skip
    for quota in world.of("ResourceQuota"):
        namespace, said = place(quota)[0], quota["status"]
        pods = [pod for pod in world.pods(namespace, {}) if not is_over(pod)]
        for name, hard in quota["spec"]["hard"].items():
            if name == "pods":
                used = parse(str(len(pods)))
            elif name == "requests.cpu":
                used = sum((asks(pod, "cpu") for pod in pods), ZERO)
            else:
                used = parse(str(sum(place(one)[0] == namespace for one in world.of(kinds[name]))))
            if parse(said["used"].get(name, "-1")) != used or said["hard"].get(name) != hard:
                yield f"{shown(quota)} says {said['used'].get(name)} of {name}, and it is {used}"


type Check = Callable[[World, Outside], Iterator[str]]

CHECKS: tuple[Check, ...] = (
    _followed, _replicas, _deployments, _stateful, _daemons, _jobs, _crons, _autoscalers, _budgets, _nodes, _placed, _room,
    _apart, _addresses, _endpoints, _left, _orphans, _quotas,
)  # fmt: skip
