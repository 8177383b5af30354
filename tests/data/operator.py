"""An operator for tests: it notes in the config map ``seen`` which handler was called with what."""

import asyncio
from typing import Any

import kopf
import kubernetes

kubernetes.config.load_kube_config()


def note(key: str, value: str) -> None:
    kubernetes.client.CoreV1Api().patch_namespaced_config_map("seen", "default", {"data": {key: value}})


@kopf.on.startup()
def configure(settings: kopf.OperatorSettings, **_: Any) -> None:
    settings.posting.enabled = True
    settings.persistence.finalizer = "kopf.zalando.org/KopfFinalizerMarker"


@kopf.on.create("kopf.dev", "v1", "kopfexamples")
def on_create(spec: kopf.Spec, **_: Any) -> dict[str, str]:
    note("create", spec["field"])
    return {"made": spec["field"]}


@kopf.on.update("kopf.dev", "v1", "kopfexamples")
def on_update(spec: kopf.Spec, **_: Any) -> None:
    note("update", spec["field"])


@kopf.on.resume("kopf.dev", "v1", "kopfexamples")
def on_resume(spec: kopf.Spec, **_: Any) -> None:
    note("resume", spec["field"])


@kopf.on.delete("kopf.dev", "v1", "kopfexamples")
def on_delete(spec: kopf.Spec, **_: Any) -> None:
    note("delete", spec["field"])


@kopf.on.field("kopf.dev", "v1", "kopfexamples", field="spec.field")
def on_field(old: str | None, new: str | None, **_: Any) -> None:
    note("field", f"{old}->{new}")


@kopf.timer("kopf.dev", "v1", "kopfexamples", interval=1)
def on_timer(spec: kopf.Spec, **_: Any) -> None:
    note("timer", spec["field"])


# By itself kopf looks only each minute whether a daemon has stopped.
@kopf.daemon("kopf.dev", "v1", "kopfexamples", cancellation_polling=0.5)
async def on_daemon(stopped: kopf.DaemonStopped, **_: Any) -> None:
    await asyncio.to_thread(note, "daemon", "runs")
    await stopped.wait()
    await asyncio.to_thread(note, "stopped", "yes")
