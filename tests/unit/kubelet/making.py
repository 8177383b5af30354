"""Pods, runs and facts for tests, in one line each."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from kybern.api.core_v1 import Container, Pod, PodSpec
from kybern.api.meta_v1 import ObjectMeta
from kybern.kubelet.labels import spec_hash
from kybern.kubelet.plan import Facts
from kybern.kubelet.runtime import Actual, Instance, RunState, Sandbox, newest_first

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def ago(seconds: float) -> datetime:
    return NOW - timedelta(seconds=seconds)


def container(name: str = "c", **fields: Any) -> Container:
    return Container(name=name, image=fields.pop("image", "busybox:1"), **fields)


def pod(*containers: Container, **fields: Any) -> Pod:
    meta = ObjectMeta(name="web", namespace="default", uid="u1", **fields.pop("meta", {}))
    spec = PodSpec(
        containers=containers or (container(),), restart_policy=fields.pop("restart", "Always"), **fields
    )
    return Pod(metadata=meta, spec=spec)


def run(of: Container, state: RunState = RunState.RUNNING, **fields: Any) -> Instance:
    ended = state is RunState.EXITED
    given: dict[str, Any] = {
        "id": f"{of.name}-{fields.get('attempt', 0)}",
        "name": of.name,
        "sandbox": "s0",
        "state": state,
        "created_at": ago(60 - fields.get("attempt", 0)),
        "started_at": ago(60),
        "finished_at": ago(5) if ended else None,
        "spec_hash": spec_hash(of),
    }
    return Instance(**(given | fields))


def ended(of: Container, code: int = 0, **fields: Any) -> Instance:
    return run(of, RunState.EXITED, exit_code=code, **fields)


def sandbox(**fields: Any) -> Sandbox:
    given: dict[str, Any] = {"id": "s0", "ready": True, "created_at": ago(90), "ips": ("10.0.0.7",)}
    return Sandbox(**(given | fields))


def facts(of: Pod, *instances: Instance, box: Sandbox | bool | None = True, **more: Any) -> Facts:
    boxes = (sandbox(),) if box is True else (box,) if isinstance(box, Sandbox) else ()
    actual = Actual("u1", "web", "default", boxes, newest_first(instances))
    return Facts(of, actual, NOW, **more)


type Named = Mapping[str, str]
