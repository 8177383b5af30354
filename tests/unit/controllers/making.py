"""Objects and views for the tests of controllers, made of as little as each needs."""

from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from kybern.api.apps_v1 import (
    Deployment,
    DeploymentSpec,
    DeploymentStatus,
    DeploymentStrategy,
    ReplicaSet,
    ReplicaSetSpec,
    ReplicaSetStatus,
    RollingUpdateDeployment,
)  # fmt: skip
from kybern.api.core_v1 import Container, Pod, PodCondition, PodIP, PodSpec, PodStatus, PodTemplateSpec
from kybern.api.meta_v1 import LabelSelector, ObjectMeta
from kybern.client.cache import Cache
from kybern.client.watch import Synced
from kybern.loop.controller import Action, Controller, Failure
from kybern.loop.owners import controller_reference
from kybern.loop.view import Glance
from kybern.machinery.struct import Object

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
LABELS = {"app": "web"}


def ago(seconds: float) -> datetime:
    return NOW - timedelta(seconds=seconds)


def pod(
    name: str, owner: Any = None, *, ready: bool | None = None, node: str = "", ip: str = "", **spec: Any
) -> Pod:
    """``ready`` None: has not started."""
    conditions = (
        ()
        if ready is None
        else (PodCondition(type="Ready", status=str(ready), last_transition_time=ago(60)),)
    )
    return Pod(
        metadata=ObjectMeta(
            name=name,
            namespace="a",
            uid=f"uid-{name}",
            labels=LABELS,
            creation_timestamp=ago(100),
            owner_references=(controller_reference(owner),) if owner is not None else (),
        ),
        spec=PodSpec(node_name=node, containers=(Container(name="c", image="i"),), **spec),
        status=PodStatus(
            phase="Pending" if ready is None else "Running",
            conditions=conditions,
            pod_ip=ip,
            pod_ips=(PodIP(ip=ip),) if ip else (),
        ),
    )


def template(image: str = "i", **labels: str) -> PodTemplateSpec:
    return PodTemplateSpec(
        metadata=ObjectMeta(labels={**LABELS, **labels}),
        spec=PodSpec(containers=(Container(name="c", image=image),)),
    )


def replicaset(count: int, **status: Any) -> ReplicaSet:
    return ReplicaSet(
        metadata=ObjectMeta(name="web", namespace="a", uid="uid-web", generation=1),
        spec=ReplicaSetSpec(replicas=count, selector=LabelSelector(match_labels=LABELS), template=template()),
        status=ReplicaSetStatus(**status),
    )


def deployment(
    count: int, image: str = "i", *, surge: Any = "25%", unavailable: Any = "25%", **spec: Any
) -> Deployment:
    rolling = RollingUpdateDeployment(max_surge=surge, max_unavailable=unavailable)
    wanted: dict[str, Any] = {
        "replicas": count,
        "progress_deadline_seconds": 600,
        "revision_history_limit": 10,
        "selector": LabelSelector(match_labels=LABELS),
        "strategy": DeploymentStrategy(type="RollingUpdate", rolling_update=rolling),
        "template": template(image),
    }
    return Deployment(
        metadata=ObjectMeta(name="web", namespace="a", uid="uid-web", generation=1),
        spec=DeploymentSpec(**{**wanted, **spec}),
        status=DeploymentStatus(),
    )


def revision(
    of: Deployment, image: str, number: int, size: int, *, available: int | None = None
) -> ReplicaSet:
    """A replica set of a deployment, all of its pods there."""
    mark = {"pod-template-hash": f"hash{number}"}
    up = size if available is None else available
    return ReplicaSet(
        metadata=ObjectMeta(
            name=f"web-hash{number}",
            namespace="a",
            uid=f"uid-{number}",
            labels={**LABELS, **mark},
            generation=1,
            creation_timestamp=ago(1000 - number),
            owner_references=(controller_reference(of),),
            annotations={
                "deployment.kubernetes.io/revision": str(number),
                "deployment.kubernetes.io/desired-replicas": str(of.spec.replicas),
                "deployment.kubernetes.io/max-replicas": str((of.spec.replicas or 0) + 1),
            },
        ),
        spec=ReplicaSetSpec(
            replicas=size,
            selector=LabelSelector(match_labels={**LABELS, **mark}),
            template=template(image, **mark),
        ),
        status=ReplicaSetStatus(
            replicas=size, ready_replicas=up, available_replicas=up, observed_generation=1
        ),
    )


def view(
    controller: Controller[Any] | None = None,
    *objects: Object,
    kinds: Sequence[type[Object]] = (),
    failure: Failure | None = None,
    live: Callable[[tuple[Any, ...]], Any] | None = None,
    now: datetime = NOW,
) -> Glance:
    """What a controller sees when these objects are all there is. ``live`` answers what is asked of the server."""
    cache = Cache(lambda: now)
    held = {type(item) for item in objects} | set(kinds)
    if controller is not None:
        held |= {controller.kind, *controller.owns, *(kind for kind, _ in controller.watches)}
        for kind, name, indexer in controller.indexes:
            cache.add_index(kind, name, indexer)
    for kind in held:
        cache.add(kind)
        cache.apply(Synced(tuple(item for item in objects if type(item) is kind)), kind)
    return Glance(cache, failure, _Answers(live), lambda: tuple(kinds))


class _Answers(dict[Any, Any]):
    """Every question has an answer at once."""

    def __init__(self, live: Callable[[tuple[Any, ...]], Any] | None) -> None:
        super().__init__()
        self._live = live

    def __contains__(self, _question: object) -> bool:
        return self._live is not None

    def __missing__(self, question: tuple[Any, ...]) -> Any:
        assert self._live is not None
        return self._live(question)


def only(actions: Iterable[Any], kind: type) -> list[Any]:
    """The actions of one type."""
    return [action for action in actions if isinstance(action, kind)]


def every(actions: Iterable[Action]) -> list[Any]:
    """All actions, to be looked at without asking each for its type."""
    return list(actions)
