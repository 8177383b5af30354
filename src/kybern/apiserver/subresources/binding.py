"""Give a pod its node: what the scheduler writes, once for each pod."""

from collections.abc import Mapping

from kybern.apiserver import problems
from kybern.apiserver.answer import Plain
from kybern.apiserver.engine import Call
from kybern.apiserver.generic import admit, update
from kybern.apiserver.generic.current import Current
from kybern.machinery import times
from kybern.machinery.causes import invalid, not_supported, required
from kybern.machinery.errors import Conflict, Details, Invalid
from kybern.machinery.kind import Raw

_COPIED = ("topology.kubernetes.io/zone", "topology.kubernetes.io/region")


async def bind(call: Call, binding: Raw) -> Plain:
    """``call`` is for the pod; the binding's metadata may carry uid and resourceVersion to be met."""
    _check(call, binding)
    asked = admit.request(call, "CREATE", binding, None)
    await admit.mutate(call, asked)
    await admit.validate(call, asked)
    target = binding["target"]["name"]
    labels = await call.engine.lookup.labels("", "nodes", "", target) or {}

    async def making(found: Current) -> Raw:
        return _bound(call, found, binding, labels)

    as_pod = Call(
        call.engine,
        call.kind,
        call.user,
        call.namespace,
        call.name,
        "binding",
        options=call.options,
        asked=True,
    )
    await update.change(as_pod, making)
    status = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}
    return Plain(status, 201)


def _check(call: Call, binding: Raw) -> None:
    target = binding.get("target") or {}
    causes = []
    kind = target.get("kind") or ""
    if kind and kind != "Node":
        causes.append(not_supported("target.kind", kind, ("Node", "<empty>")))
    if not target.get("name"):
        causes.append(required("target.name"))
    if causes:
        lines = [cause.line() for cause in causes]
        raise problems.Unexpected(lines[0] if len(lines) == 1 else f"[{', '.join(lines)}]")
    name = binding["metadata"].get("name") or call.name
    if name != call.name:
        cause = invalid("metadata.name", name, "must match the name of the pod")
        raise Invalid.of("", "Binding", call.name, [cause])


def _bound(call: Call, found: Current, binding: Raw, labels: Mapping[str, str]) -> Raw:
    raw = {**found.raw, "metadata": {**found.raw["metadata"]}, "spec": {**found.raw["spec"]}}
    metadata, said = raw["metadata"], binding["metadata"]
    _met(call, found, said)
    if metadata.get("deletionTimestamp"):
        why = f"pod {call.name} is being deleted, cannot be assigned to a host"
        raise _conflict(call, why)
    node_name = raw["spec"].get("nodeName")
    if node_name:
        why = f'pod {call.name} is already assigned to node "{node_name}"'
        raise _conflict(call, why)
    if raw["spec"].get("schedulingGates"):
        raise _conflict(call, f"pod {call.name} has non-empty .spec.schedulingGates")
    raw["spec"]["nodeName"] = binding["target"]["name"]
    if said.get("annotations"):
        metadata["annotations"] = {**(metadata.get("annotations") or {}), **said["annotations"]}
    copied = {key: labels[key] for key in _COPIED if key in labels}
    if copied:
        metadata["labels"] = {**copied, **(metadata.get("labels") or {})}
    raw["status"] = {**(raw.get("status") or {})}
    raw["status"].pop("nominatedNodeName", None)  # what was expected has come to pass
    raw["status"]["conditions"] = _scheduled(call, raw["status"].get("conditions") or [])
    metadata.pop("resourceVersion", None)
    return raw


def _met(call: Call, found: Current, said: Raw) -> None:
    if said.get("uid") and said["uid"] != found.uid:
        why = f"Precondition failed: UID in precondition: {said['uid']}, UID in object meta: {found.uid}"
        raise _conflict(call, why)
    version = said.get("resourceVersion")
    if version and version != str(found.revision):
        why = (
            f"Precondition failed: ResourceVersion in precondition: {version}, "
            f"ResourceVersion in object meta: {found.revision}"
        )
        raise _conflict(call, why)


def _conflict(call: Call, why: str) -> Conflict:
    text = f'Operation cannot be fulfilled on pods/binding "{call.name}": {why}'
    return Conflict(text, Details(name=call.name, kind="pods/binding"))


def _scheduled(call: Call, conditions: list[Raw]) -> list[Raw]:
    now = times.of_unix(call.engine.clock())
    kept = [condition for condition in conditions if condition.get("type") != "PodScheduled"]
    condition = {"type": "PodScheduled", "status": "True", "lastProbeTime": None, "lastTransitionTime": now}
    return [*kept, condition]
