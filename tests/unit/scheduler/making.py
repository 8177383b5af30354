"""Pods and nodes for the scheduler's tests."""

from datetime import UTC, datetime
from typing import Any

import numpy as np

from kybern.api.core_v1 import (
    Container,
    ContainerPort,
    Node,
    NodeSpec,
    NodeStatus,
    Pod,
    PodSpec,
    PodStatus,
    ResourceRequirements,
    Taint,
    Toleration,
)
from kybern.api.meta_v1 import ObjectMeta
from kybern.scheduler.cycle import schedule
from kybern.scheduler.facts import PodFacts
from kybern.scheduler.framework import Attempt
from kybern.scheduler.outcomes import Placed, Refused
from kybern.scheduler.plugins import PLUGINS
from kybern.scheduler.profile import Profile
from kybern.scheduler.promises import Promises
from kybern.scheduler.table import Table

DEFAULT = Profile.of(PLUGINS)


def node(name: str, cpu: str = "4", memory: str = "8Gi", pods: str = "110", **more: Any) -> Node:
    return Node(
        metadata=ObjectMeta(name=name, labels={"kubernetes.io/hostname": name} | more.get("labels", {})),
        spec=NodeSpec(taints=tuple(more.get("taints", ())), unschedulable=more.get("cordoned")),
        status=NodeStatus(
            allocatable={"cpu": cpu, "memory": memory, "pods": pods} | more.get("extra", {}),
            images=tuple(more.get("images", ())),
        ),
    )


def pod(name: str, cpu: str = "", memory: str = "", ports: tuple[int, ...] = (), **more: Any) -> Pod:
    requests = {
        key: value for key, value in {"cpu": cpu, "memory": memory, **more.pop("extra", {})}.items() if value
    }
    container = Container(
        name="c",
        image="busybox",
        resources=ResourceRequirements(requests=requests),
        ports=tuple(ContainerPort(container_port=port, host_port=port, protocol="TCP") for port in ports),
    )
    meta = ObjectMeta(
        namespace=more.pop("namespace", "default"),
        name=name,
        uid=f"uid-{name}",
        labels=more.pop("labels", {}),
        owner_references=more.pop("owners", ()),
        deletion_timestamp=datetime(2026, 1, 1, tzinfo=UTC) if more.pop("leaving", False) else None,
    )
    status = more.pop("status", PodStatus())
    spec = {"containers": (container,), "scheduler_name": "default-scheduler"} | more
    return Pod(metadata=meta, spec=PodSpec(**spec), status=status)


def taint(key: str, effect: str = "NoSchedule", value: str = "") -> Taint:
    return Taint(key=key, value=value, effect=effect)


def bears(key: str = "", operator: str = "Exists", value: str = "", effect: str = "") -> Toleration:
    return Toleration(key=key, operator=operator, value=value, effect=effect)


def table_of(*nodes: Node) -> Table:
    table = Table(columns=2)
    for one in nodes:
        table.set_node(one)
    return table


def attempt(one: Pod, table: Table, profile: Profile = DEFAULT, promises: Promises | None = None) -> Attempt:
    return Attempt(PodFacts.of(one), table, profile, promises or Promises())


def decide(one: Pod, table: Table, seed: int = 1, profile: Profile = DEFAULT) -> Placed | Refused:
    return schedule(attempt(one, table, profile), np.random.default_rng(seed))
