"""Pods keep to the security level of their namespace; workloads are told when theirs would not."""

from collections.abc import Mapping

from kybern.admission.framework import Plugin, Request, refused
from kybern.admission.pod_security.policy import LEVELS, Level, causes, policy, violations
from kybern.machinery.errors import Invalid
from kybern.machinery.kind import Raw

TEMPLATES = {
    ("", "replicationcontrollers"): ("spec", "template"),
    ("", "podtemplates"): ("template",),
    ("apps", "replicasets"): ("spec", "template"),
    ("apps", "deployments"): ("spec", "template"),
    ("apps", "statefulsets"): ("spec", "template"),
    ("apps", "daemonsets"): ("spec", "template"),
    ("batch", "jobs"): ("spec", "template"),
    ("batch", "cronjobs"): ("spec", "jobTemplate", "spec", "template"),
}
"""Where workloads keep their pod template."""
IGNORED = frozenset({"exec", "attach", "binding", "eviction", "log", "portforward", "proxy", "status"})
SECCOMP = ("seccomp.security.alpha.kubernetes.io/pod", "container.seccomp.security.alpha.kubernetes.io/")
MOST_PODS = 3000
"""So many pods of a namespace are looked at when its level changes (upstream's number)."""


async def validate(request: Request) -> None:
    if request.new is None or request.operation not in ("CREATE", "UPDATE"):
        return
    resource = (request.kind.group, request.kind.plural)
    if resource == ("", "namespaces"):
        await _namespace(request)
    elif resource == ("", "pods"):
        await _pod(request, request.new)
    elif not request.subresource:
        await _workload(request, request.new, TEMPLATES[resource])


async def _labels(request: Request) -> Mapping[str, str]:
    found = await request.lookup.get("", "namespaces", "", request.namespace)
    return _labels_of(found or {"metadata": {}})


def _labels_of(found: Raw) -> Mapping[str, str]:
    return found["metadata"].get("labels") or {}


async def _pod(request: Request, pod: Raw) -> None:
    if request.subresource in IGNORED:
        return
    wanted = policy(await _labels(request))
    if wanted.enforce.name == wanted.warn.name == "privileged":
        return
    if request.operation == "UPDATE" and not _matters(pod, request.old or {}):
        return
    spec = pod.get("spec") or {}
    found = violations(wanted.enforce, pod["metadata"], spec)
    if found:
        raise refused(request, f'violates PodSecurity "{wanted.enforce}": {", ".join(map(str, found))}')
    _warn(request, wanted.warn, pod["metadata"], spec)


async def _workload(request: Request, workload: Raw, path: tuple[str, ...]) -> None:
    wanted = policy(await _labels(request))
    if wanted.warn.name == "privileged":
        return
    template = workload
    for step in path:
        template = template.get(step) or {}
    if template:
        _warn(request, wanted.warn, template.get("metadata") or {}, template.get("spec") or {})


def _warn(request: Request, level: Level, metadata: Raw, spec: Raw) -> None:
    found = violations(level, metadata, spec)
    if found:
        request.warnings.append(f'would violate PodSecurity "{level}": {", ".join(map(str, found))}')


def _matters(new: Raw, old: Raw) -> bool:
    """Whether an update touches what the checks look at: images, ephemeral containers, old seccomp annotations."""

    def images(pod: Raw) -> dict[tuple[str, str], str]:
        spec = pod.get("spec") or {}
        fields = ("initContainers", "containers", "ephemeralContainers")
        return {
            (field, one["name"]): one.get("image", "") for field in fields for one in spec.get(field) or ()
        }

    def annotations(pod: Raw) -> dict[str, str]:
        held = (pod.get("metadata") or {}).get("annotations") or {}
        return {key: value for key, value in held.items() if key.startswith(SECCOMP)}

    return images(new) != images(old) or annotations(new) != annotations(old)


async def _namespace(request: Request) -> None:
    if request.subresource:
        return
    new, old = _labels_of(request.new or {}), _labels_of(request.old or {"metadata": {}})
    wrong = list(causes(new))
    if wrong and (request.operation == "CREATE" or wrong != list(causes(old))):
        raise Invalid.of(
            "", "Namespace", request.name or (request.new or {})["metadata"].get("name", ""), wrong
        )
    if request.operation == "UPDATE":
        before, after = policy(old).enforce, policy(new).enforce
        if after != before and after.name != "privileged" and not _relaxed(before, after):
            request.warnings += await _offenders(request, after)


def _relaxed(before: Level, after: Level) -> bool:
    return before.version == after.version and LEVELS.index(after.name) <= LEVELS.index(before.name)


async def _offenders(request: Request, level: Level) -> list[str]:
    """Warnings of pods that are there already and would be refused now."""
    pods = await request.lookup.list("", "pods", request.name)
    found: dict[str, list[str]] = {}
    for pod in pods[:MOST_PODS]:
        reasons = ", ".join(one.reason for one in violations(level, pod["metadata"], pod.get("spec") or {}))
        if reasons:
            found.setdefault(reasons, []).append(pod["metadata"]["name"])
    if not found:
        return []
    head = f'existing pods in namespace "{request.name}" violate the new PodSecurity enforce level "{level}"'
    return [head, *sorted(f"{_several(names)}: {reasons}" for reasons, names in found.items())]


def _several(names: list[str]) -> str:
    others = len(names) - 1
    if not others:
        return names[0]
    return f"{min(names)} (and {others} other pod{'s' if others > 1 else ''})"


PLUGIN = Plugin(
    "PodSecurity", validate=validate, resources=frozenset({("", "pods"), ("", "namespaces"), *TEMPLATES})
)
