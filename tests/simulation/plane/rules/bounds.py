"""What bounds workloads: autoscalers, budgets and quotas say and do what their numbers ask for."""

from collections.abc import Iterator
from math import ceil

from kybern.machinery.quantity import parse
from tests.simulation.plane.mix import TARGET
from tests.simulation.plane.world import ZERO, Outside, World, asks, is_over, is_ready, place, says, shown


def autoscalers(world: World, outside: Outside) -> Iterator[str]:
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
        yield from says(one, currentReplicas=now, desiredReplicas=now)


def budgets(world: World, _outside: Outside) -> Iterator[str]:
    for one in world.of("PodDisruptionBudget"):
        spec, namespace = one["spec"], place(one)[0]
        pods = [pod for pod in world.pods(namespace, spec["selector"]["matchLabels"]) if not is_over(pod)]
        total, healthy = len(pods), sum(map(is_ready, pods))
        if spec.get("minAvailable") is not None:
            desired = _scaled(spec["minAvailable"], total)
        else:
            desired = max(0, total - _scaled(spec["maxUnavailable"], total))
        yield from says(one, expectedPods=total, currentHealthy=healthy, desiredHealthy=desired)
        yield from says(one, disruptionsAllowed=max(0, healthy - desired))


def _scaled(given: int | str, total: int) -> int:
    return ceil(int(given[:-1]) * total / 100) if isinstance(given, str) else given


def quotas(world: World, _outside: Outside) -> Iterator[str]:
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
