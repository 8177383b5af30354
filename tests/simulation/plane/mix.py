"""Workloads of all sorts, made up by a seed, as users would send them."""

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

type Raw = dict[str, Any]

# How many of the pods are whose, by the hundred; a daemon set has as many as there are nodes.
DEPLOYMENTS, STATEFUL, SCALED, OLD = 45, 15, 10, 3
QUOTA = {
    "pods": "2000", "requests.cpu": "2000", "count/deployments.apps": "500", "services": "500", "count/jobs.batch": "500",
}  # fmt: skip
TARGET = 100  # millicores that an autoscaler wants of each pod


@dataclass(slots=True)
class Mix:
    """What is sent. ``loads`` are millicores by namespace and app, for those that are scaled by it."""

    namespaces: list[str]
    objects: list[tuple[str, Raw]] = field(default_factory=list)
    loads: dict[tuple[str, str], int] = field(default_factory=dict)
    due: dict[tuple[str, str], str] = field(default_factory=dict)


def mix(nodes: int, pods: int, dice: random.Random) -> Mix:
    """As many pods as asked for, give or take a few, for so many nodes."""
    found = Mix([f"team-{number}" for number in range(max(2, pods // 300))])
    for namespace in found.namespaces:
        found.objects.append(("/api/v1/namespaces", {"metadata": {"name": namespace}}))
        quota = {"metadata": {"name": "all"}, "spec": {"hard": QUOTA}}
        found.objects.append((f"/api/v1/namespaces/{namespace}/resourcequotas", quota))
    made = list(_workloads(found, nodes, pods, dice))
    dice.shuffle(made)
    found.objects += made
    return found


def _workloads(found: Mix, nodes: int, pods: int, dice: random.Random) -> Iterator[tuple[str, Raw]]:
    serial = 0
    left = {"daemon": nodes if pods > 4 * nodes else 0}
    if left["daemon"]:
        yield _daemon(found.namespaces[0])
    rest = pods - left["daemon"]
    shares = (
        (_deployment, DEPLOYMENTS), (_stateful, STATEFUL), (_scaled, SCALED), (_old, OLD),
        (_job, 100 - DEPLOYMENTS - STATEFUL - SCALED - OLD),
    )  # fmt: skip
    for make, share in shares:
        wanted = rest * share // 100
        while wanted > 0:
            serial += 1
            where = dice.choice(found.namespaces)
            count = min(wanted, dice.randint(1, 12))
            wanted -= count
            yield from make(found, where, f"{make.__name__[1:]}-{serial}", count, dice)


def template(app: str, dice: random.Random, **spec: Any) -> Raw:
    cpu = dice.choice(["50m", "100m", "200m"])
    container = {"name": "c", "image": "a", "resources": {"requests": {"cpu": cpu, "memory": "64Mi"}}}
    return {"metadata": {"labels": {"app": app}}, "spec": {"containers": [container], **spec}}


def _placement(app: str, count: int, dice: random.Random) -> Raw:
    chosen: Raw = {"labelSelector": {"matchLabels": {"app": app}}}
    rule = dice.randrange(6)
    if rule == 0 and count <= 6:
        term = {"topologyKey": "kubernetes.io/hostname", **chosen}
        return {"affinity": {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}}
    if rule == 1:
        wish = {"weight": 10, "podAffinityTerm": {"topologyKey": "kubernetes.io/hostname", **chosen}}
        return {"affinity": {"podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [wish]}}}
    if rule == 2:
        spread = {
            "topologyKey": "topology.kubernetes.io/zone", "maxSkew": 1, "whenUnsatisfiable": "DoNotSchedule", **chosen,
        }  # fmt: skip
        return {"topologySpreadConstraints": [spread]}
    return {"nodeSelector": {"disk": "fast"}} if rule == 3 else {}


def _apps(where: str, plural: str) -> str:
    return f"/apis/apps/v1/namespaces/{where}/{plural}"


def _service(where: str, app: str, **spec: Any) -> tuple[str, Raw]:
    ports = [{"port": 80, "targetPort": 8080}]
    return f"/api/v1/namespaces/{where}/services", {
        "metadata": {"name": app}, "spec": {"selector": {"app": app}, "ports": ports, **spec},
    }  # fmt: skip


def _workload(app: str, count: int, pods: Raw, **spec: Any) -> Raw:
    chosen = {"matchLabels": {"app": app}}
    return {
        "metadata": {"name": app},
        "spec": {"replicas": count, "selector": chosen, "template": pods, **spec},
    }


def _budget(where: str, app: str, dice: random.Random) -> tuple[str, Raw]:
    bound: Raw = dice.choice([{"maxUnavailable": 1}, {"minAvailable": "50%"}, {"maxUnavailable": "30%"}])
    spec = {"selector": {"matchLabels": {"app": app}}, **bound}
    return f"/apis/policy/v1/namespaces/{where}/poddisruptionbudgets", {
        "metadata": {"name": app},
        "spec": spec,
    }


def _deployment(
    found: Mix, where: str, app: str, count: int, dice: random.Random
) -> Iterator[tuple[str, Raw]]:
    yield (
        _apps(where, "deployments"),
        _workload(app, count, template(app, dice, **_placement(app, count, dice))),
    )
    if dice.random() < 0.6:
        yield _service(where, app)
    if dice.random() < 0.5:
        yield _budget(where, app, dice)


def _stateful(found: Mix, where: str, app: str, count: int, dice: random.Random) -> Iterator[tuple[str, Raw]]:
    how = dice.choice(["OrderedReady", "Parallel"])
    wanted = _workload(app, count, template(app, dice), serviceName=app, podManagementPolicy=how)
    yield _apps(where, "statefulsets"), wanted
    yield _service(where, app, clusterIP="None")


def _scaled(found: Mix, where: str, app: str, count: int, dice: random.Random) -> Iterator[tuple[str, Raw]]:
    """Begins with one, and has as much to do as so many pods can."""
    found.loads[where, app] = count * TARGET
    pods = template(app, dice)
    pods["spec"]["containers"][0]["resources"]["requests"]["cpu"] = f"{TARGET}m"
    yield _apps(where, "deployments"), _workload(app, 1, pods)
    metric = {
        "type": "Resource",
        "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 100}},
    }
    spec = {
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": app},
        "minReplicas": 1, "maxReplicas": 20, "metrics": [metric],
    }  # fmt: skip
    path = f"/apis/autoscaling/v2/namespaces/{where}/horizontalpodautoscalers"
    yield path, {"metadata": {"name": app}, "spec": spec}


def _old(found: Mix, where: str, app: str, count: int, dice: random.Random) -> Iterator[tuple[str, Raw]]:
    spec = {"replicas": count, "selector": {"app": app}, "template": template(app, dice)}
    path = f"/api/v1/namespaces/{where}/replicationcontrollers"
    yield path, {"metadata": {"name": app}, "spec": spec}


def _job(found: Mix, where: str, app: str, count: int, dice: random.Random) -> Iterator[tuple[str, Raw]]:
    pods = template(app, dice, restartPolicy="Never")
    del pods["metadata"]
    spec = {"parallelism": max(1, count // 2), "completions": count, "template": pods, "backoffLimit": 1000}
    if dice.random() < 0.3:
        spec["completionMode"] = "Indexed"
    if dice.random() < 0.75:
        yield f"/apis/batch/v1/namespaces/{where}/jobs", {"metadata": {"name": app}, "spec": spec}
        return
    # Two minutes after the beginning of time, and not again within this simulation.
    found.due[where, app] = "2026-01-01T00:02:00Z"
    cron = {"schedule": "2 0 1 1 *", "timeZone": "Etc/UTC", "jobTemplate": {"spec": spec}}
    yield f"/apis/batch/v1/namespaces/{where}/cronjobs", {"metadata": {"name": app}, "spec": cron}


def _daemon(where: str) -> tuple[str, Raw]:
    pods = template("daemon", random.Random(0))
    pods["spec"]["containers"][0]["resources"]["requests"]["cpu"] = "10m"
    wanted = _workload("daemon", 0, pods)
    del wanted["spec"]["replicas"]
    return _apps(where, "daemonsets"), wanted
