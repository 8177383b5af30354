"""The size of a workload, and nothing else of it: autoscaling/v1 Scale."""

from dataclasses import replace

from kybern.admission.framework import Disguise
from kybern.apiserver import body
from kybern.apiserver.answer import Plain
from kybern.apiserver.engine import Call
from kybern.apiserver.generic import apply, current, patch, prepare, update
from kybern.apiserver.generic.current import Current
from kybern.machinery import selectors
from kybern.machinery.apply.merge import ApplyConflict
from kybern.machinery.causes import invalid
from kybern.machinery.errors import BadRequest, Invalid
from kybern.machinery.kind import Kind, Raw, ScalePaths
from kybern.machinery.structural.node import at
from kybern.storage.value import decoded

SCHEMA = "io.k8s.api.autoscaling.v1.Scale"
KIND = Kind("autoscaling", "v1", "Scale", "scales", namespaced=True, schema=SCHEMA)


def scale_of(raw: Raw, paths: ScalePaths | None = None) -> Raw:
    """The Scale of a workload; ``paths`` say where a custom kind keeps its size."""
    metadata = raw["metadata"]
    kept = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")
    spec, status = raw.get("spec") or {}, raw.get("status") or {}
    if paths is not None:
        spec, status = {"replicas": at(raw, paths.spec)}, {"replicas": at(raw, paths.status)}
    found: Raw = {
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": {key: metadata[key] for key in kept if key in metadata},
        "spec": {"replicas": spec["replicas"]} if spec.get("replicas") else {},
        "status": {"replicas": status.get("replicas") or 0},
    }
    text = _selector(raw) if paths is None else at(raw, paths.selector) if paths.selector else ""
    if text:
        found["status"]["selector"] = text
    return found


def _selector(raw: Raw) -> str:
    selector = (raw.get("spec") or {}).get("selector")
    if raw["kind"] == "ReplicationController":
        return ",".join(f"{key}={value}" for key, value in sorted((selector or {}).items()))
    return str(selectors.of_selector(selector)) if selector else ""


async def get(call: Call) -> Plain:
    return Plain(scale_of((await current.read(call)).raw, call.kind.scale))


async def put(call: Call, data: bytes, content_type: str) -> Plain:
    scale = body.decode(call, data, content_type, KIND, SCHEMA)
    return await _set(call, lambda _old: scale)


async def patch_(call: Call, data: bytes, content_type: str) -> Plain:
    if body.media_type(content_type) == patch.APPLY_PATCH:
        return await _apply(call, data)
    sent = patch.reader(KIND, data, content_type, SCHEMA)
    as_scale = replace(call, kind=KIND)
    return await _set(call, lambda old: patch.decoded(as_scale, sent, sent.apply(old)))


async def _apply(call: Call, data: bytes) -> Plain:
    """Who applies a size manages that field of the workload, by way of its Scale."""
    config = apply.read(replace(call, kind=KIND, subresource=""), data)
    said, spec = config.get("metadata") or {}, config.get("spec") or {}
    part: Raw = {
        "apiVersion": call.kind.api_version,
        "kind": call.kind.kind,
        "metadata": {
            key: said[key] for key in ("name", "namespace", "uid", "resourceVersion") if key in said
        },
    }
    if "replicas" in spec:
        _place(part, _path(call), spec["replicas"])

    async def making(found: Current) -> Raw:
        _check(call, config, found)
        try:
            return apply.applied(call, part, found)
        except ApplyConflict as conflict:
            # Whoever wrote the field is told as one who wrote the Scale.
            raise ApplyConflict(
                {
                    who._replace(version=KIND.api_version if who.version else ""): fields
                    for who, fields in conflict.fields.items()
                }
            ) from conflict

    one = await update.change(
        replace(call, subresource="scale", disguise=_disguise(call.kind.scale)), making, owned=True
    )
    return Plain(scale_of(decoded(one.body), call.kind.scale))


def _path(call: Call) -> tuple[str, ...]:
    """Where a workload keeps its size."""
    return call.kind.scale.spec if call.kind.scale else ("spec", "replicas")


async def _set(call: Call, wanted: patch.Apply) -> Plain:
    async def making(found: Current) -> Raw:
        scale = wanted(scale_of(found.raw, call.kind.scale))
        _check(call, scale, found)
        raw = {**found.raw, "metadata": {**found.raw["metadata"]}}
        count = (scale.get("spec") or {}).get("replicas") or 0
        _place(raw, _path(call), count)
        if scale["metadata"].get("resourceVersion"):
            raw["metadata"]["resourceVersion"] = scale["metadata"]["resourceVersion"]
        elif not call.kind.custom:
            raw["metadata"].pop("resourceVersion", None)
        return raw

    one = await update.change(replace(call, subresource="scale", disguise=_disguise(call.kind.scale)), making)
    return Plain(scale_of(decoded(one.body), call.kind.scale))


def _disguise(paths: ScalePaths | None) -> Disguise:
    """Webhooks see a Scale, and may change how many are wanted."""

    def place(raw: Raw, scale: Raw) -> None:
        _place(
            raw, paths.spec if paths else ("spec", "replicas"), (scale.get("spec") or {}).get("replicas") or 0
        )

    return Disguise(KIND, lambda raw: scale_of(raw, paths), place)


def _place(raw: Raw, path: tuple[str, ...], count: int) -> None:
    """Set a value deep inside, without a change to what other versions of the object share."""
    for part in path[:-1]:
        raw[part] = raw = {**(raw.get(part) or {})}
    raw[path[-1]] = count


def _check(call: Call, scale: Raw, found: Current) -> None:
    metadata = scale.setdefault("metadata", {})
    name = metadata.get("name") or ""
    if name and name != call.name:
        raise BadRequest(f"the name of the object ({name}) does not match the name on the URL ({call.name})")
    prepare.same_object(call, scale, found)
    replicas = (scale.get("spec") or {}).get("replicas") or 0
    if replicas < 0:
        cause = invalid("spec.replicas", replicas, "must be greater than or equal to 0")
        raise Invalid.of("autoscaling", "Scale", call.name, [cause])
