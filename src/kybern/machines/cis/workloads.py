"""Judgements of what runs in the cluster: pods, namespaces, service accounts. Pure.

Most of the benchmark's section 5 is about what policies admit. That is an operator's choice by namespace (labels of Pod
Security); here is told what runs that a stricter policy would refuse, so that the choice can be made.
"""

from collections.abc import Callable, Iterator
from typing import Any

from kybern.machines.cis.record import Level, Objects, Outcome, Raw, Weigh, passed, review, unknown
from kybern.machines.cis.rights import some

SYSTEM = ("kube-system", "kube-public", "kube-node-lease")
ENFORCE = "pod-security.kubernetes.io/enforce"
MANDATORY = ("baseline", "restricted")
CONTAINERS = ("initContainers", "containers", "ephemeralContainers")

type Has = Callable[[Raw], bool]


def containers(pod: Raw) -> Iterator[Raw]:
    spec = pod.get("spec") or {}
    for name in CONTAINERS:
        yield from spec.get(name) or ()


def security(one: Raw) -> Raw:
    return one.get("securityContext") or {}


def no_pod(what: str, has: Has, remedy: str = "") -> Weigh:
    """No pod outside the system's namespaces has it."""

    def weigh(objects: Objects) -> Outcome:
        pods = objects["pods"]
        if pods is None:
            return unknown("the API does not tell pods")
        found = sorted(_name(pod) for pod in pods if pod["metadata"]["namespace"] not in SYSTEM and has(pod))
        if not found:
            return passed(f"no pod {what}")
        text = f"of {len(pods)} pods, {len(found)} {what}: {some(found)}"
        return review(
            text, remedy or f"label their namespaces {ENFORCE}={MANDATORY[1]} where they can do without"
        )

    return weigh


def _name(pod: Raw) -> str:
    return f"{pod['metadata']['namespace']}/{pod['metadata']['name']}"


def spec(name: str) -> Has:
    return lambda pod: bool((pod.get("spec") or {}).get(name))


def privileged(pod: Raw) -> bool:
    return any(security(one).get("privileged") for one in containers(pod))


def escalates(pod: Raw) -> bool:
    return any(security(one).get("allowPrivilegeEscalation") is not False for one in containers(pod))


def as_root(pod: Raw) -> bool:
    """Nothing keeps it from running as root."""
    whole = security(pod.get("spec") or {})
    for one in containers(pod):
        settings = {**whole, **security(one)}
        if not settings.get("runAsNonRoot") and not settings.get("runAsUser"):
            return True
    return False


def raw_packets(pod: Raw) -> bool:
    return any("ALL" not in _drops(one) and "NET_RAW" not in _drops(one) for one in containers(pod))


def capable(pod: Raw) -> bool:
    return any("ALL" not in _drops(one) or _capabilities(one).get("add") for one in containers(pod))


def _capabilities(one: Raw) -> Raw:
    return security(one).get("capabilities") or {}


def _drops(one: Raw) -> list[str]:
    return [name.upper() for name in _capabilities(one).get("drop") or ()]


def host_process(pod: Raw) -> bool:
    options = [security(pod.get("spec") or {}), *map(security, containers(pod))]
    return any((one.get("windowsOptions") or {}).get("hostProcess") for one in options)


def host_path(pod: Raw) -> bool:
    return any(one.get("hostPath") for one in (pod.get("spec") or {}).get("volumes") or ())


def host_port(pod: Raw) -> bool:
    return any(port.get("hostPort") for one in containers(pod) for port in one.get("ports") or ())


def secret_variables(pod: Raw) -> bool:
    for one in containers(pod):
        sources = [source for source in one.get("envFrom") or () if source.get("secretRef")]
        keys = [each for each in one.get("env") or () if (each.get("valueFrom") or {}).get("secretKeyRef")]
        if sources or keys:
            return True
    return False


def unconfined(pod: Raw) -> bool:
    """It asks for no seccomp. Who says nothing gets the runtime's profile (seccompDefault, 4.2.14)."""
    settings = [security(pod.get("spec") or {}), *map(security, containers(pod))]
    return any((one.get("seccompProfile") or {}).get("type") == "Unconfined" for one in settings)


def without_context(pod: Raw) -> bool:
    """Neither it nor one of its containers says anything of security."""
    return not security(pod.get("spec") or {}) and any(not security(one) for one in containers(pod))


def in_default(pod: Raw) -> bool:
    return bool(pod["metadata"]["namespace"] == "default")


def as_default_account(pod: Raw) -> bool:
    own = pod.get("spec") or {}
    return own.get("serviceAccountName", "default") == "default" and _has_token(pod)


def _has_token(pod: Raw) -> bool:
    volumes: list[Any] = (pod.get("spec") or {}).get("volumes") or []
    return any(
        source.get("serviceAccountToken")
        for one in volumes
        for source in (one.get("projected") or {}).get("sources") or ()
    )


def has_token(pod: Raw) -> bool:
    """A token is mounted, which whatever breaks into the pod may use."""
    return _has_token(pod) and not as_default_account(pod)


def policy_in_each_namespace(objects: Objects) -> Outcome:
    """Namespaces in which pods run have a NetworkPolicy."""
    pods, policies = objects["pods"], objects["networkpolicies"]
    if pods is None or policies is None:
        return unknown("the API does not tell pods or network policies")
    used = {pod["metadata"]["namespace"] for pod in pods if not (pod.get("spec") or {}).get("hostNetwork")}
    bare = sorted(used - {one["metadata"]["namespace"] for one in policies} - set(SYSTEM))
    if bare:
        return review(f"no NetworkPolicy in {some(bare)}", "write one that denies what they do not need")
    return passed("every namespace with pods has one")


def pod_security(objects: Objects) -> Outcome:
    """Namespaces in which pods run have a level that is enforced, or a policy of somebody else's looks at pods."""
    pods, namespaces = objects["pods"], objects["namespaces"]
    if pods is None or namespaces is None:
        return unknown("the API does not tell pods or namespaces")
    hooks = [
        *(objects["validatingwebhookconfigurations"] or ()),
        *(objects["validatingadmissionpolicybindings"] or ()),
    ]
    used = {pod["metadata"]["namespace"] for pod in pods} - set(SYSTEM)
    levels = {
        one["metadata"]["name"]: (one["metadata"].get("labels") or {}).get(ENFORCE, "") for one in namespaces
    }
    bare = sorted(name for name in used if levels.get(name) not in MANDATORY)
    if bare and not hooks:
        return review(
            f"nothing is enforced in {some(bare)}", f"label them {ENFORCE}={MANDATORY[0]} or {MANDATORY[1]}"
        )
    return passed("pods are looked at wherever they run")


def supports_policies(objects: Objects) -> Outcome:
    if objects.cluster.network_policies:
        return passed("Kybern puts NetworkPolicies in force on every node")
    return review(
        "network_policies is false", "see that the pod network of your own puts NetworkPolicies in force"
    )


def several_namespaces(objects: Objects) -> Outcome:
    namespaces = objects["namespaces"]
    if namespaces is None:
        return unknown("the API does not tell namespaces")
    own = sorted({one["metadata"]["name"] for one in namespaces} - {*SYSTEM, "default"})
    return (
        passed(f"{len(own)} of your own") if own else passed("no workloads yet, or all in default: see 5.6.4")
    )


def bootstrap_tokens(objects: Objects) -> Outcome:
    tokens = objects["bootstraptokens"]
    if tokens is None:
        return unknown("the API does not tell whether there are bootstrap tokens")
    if tokens:
        return review(f"there are {len(tokens)}", "delete those of people: they are for machines that join")
    return passed("there are none")


def operator_file(objects: Objects) -> Outcome:
    if objects.admin is None:
        return unknown("there is no admin.conf in the state directory")
    if objects.admin & 0o077:
        return Outcome(Level.FAILED, f"the operator's admin.conf is {objects.admin:o}", "chmod 600 it")
    return passed(f"on no machine; the operator's is {objects.admin:o}")


def explain(why: str, said: str = "does not apply") -> Weigh:
    return lambda _objects: Outcome(Level.EXPLAINED, said, why)
