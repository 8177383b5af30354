"""A pod's claims: those of templates are made for it, and its status says what they are called. Pure.

The name of a generated claim is chosen by the API server, so a claim that was made and not yet written down is found by
its owner and its annotation. Who bypassed the scheduler (nodeName was set by hand) gets its reservation here.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from kybern.api.core_v1 import Pod, PodResourceClaim, PodResourceClaimStatus
from kybern.api.meta_v1 import ObjectMeta
from kybern.api.resource_v1 import ResourceClaim, ResourceClaimConsumerReference, ResourceClaimTemplate
from kybern.loop.controller import Action, Create, Emit, PatchStatus, View
from kybern.loop.device_claims import MOST_USERS
from kybern.loop.owners import controller_reference
from kybern.loop.pods import is_terminal
from kybern.machinery.struct import replace

POD_CLAIM = "resource.kubernetes.io/pod-claim-name"
_LONGEST = 57  # of a generated name's base: a hyphen and five letters follow in 63


@dataclass(frozen=True, slots=True)
class State:
    """A pod that may run, the claims by name, and the templates that there are."""

    pod: Pod
    claims: Mapping[str, ResourceClaim]
    templates: Mapping[str, ResourceClaimTemplate]


def observe(view: View, namespace: str, name: str) -> State | None:
    pod = view.get(Pod, namespace, name)
    if pod is None or is_done(pod) or pod.metadata.deletion_timestamp is not None:
        return None
    own = {claim.metadata.name: claim for claim in view.index(ResourceClaim, "pod", pod.metadata.uid)}
    used = {one: view.get(ResourceClaim, namespace, one) for one in named(pod).values() if one}
    wanted = {one.resource_claim_template_name for one in pod.spec.resource_claims} - {""}
    templates = {one: view.get(ResourceClaimTemplate, namespace, one) for one in wanted}
    return State(
        pod,
        own | {one: claim for one, claim in used.items() if claim is not None},
        {one: template for one, template in templates.items() if template is not None},
    )


def is_done(pod: Pod) -> bool:
    """Nothing of it runs, nor ever will."""
    return is_terminal(pod) or (pod.metadata.deletion_timestamp is not None and not pod.spec.node_name)


def named(pod: Pod) -> Mapping[str, str]:
    """What each of the pod's claims is called; "" for one that the pod does without, absent for one not made yet."""
    made = {one.name: one.resource_claim_name for one in pod.status.resource_claim_statuses}
    direct = {
        one.name: one.resource_claim_name for one in pod.spec.resource_claims if one.resource_claim_name
    }
    return made | direct


def is_made_for(claim: ResourceClaim, pod: Pod) -> bool:
    return any(one.controller and one.uid == pod.metadata.uid for one in claim.metadata.owner_references)


def diff(state: State) -> Iterable[Action]:
    pod, known, names = state.pod, named(state.pod), dict[str, str]()
    for entry in pod.spec.resource_claims:
        if not entry.resource_claim_template_name:
            continue
        name = known.get(entry.name)
        if name == "":
            names[entry.name] = name
            continue
        claim = state.claims.get(name) if name else None
        if claim is not None and not is_made_for(claim, pod):
            yield _failed(pod, entry, _foreign(claim, pod))
            return
        claim = claim or _unnamed(state, entry)
        if claim is None:
            yield from _made(state, entry)
            return
        names[entry.name] = claim.metadata.name
    yield from _written(pod, names)
    if pod.spec.node_name:
        yield from _reserved(state, {*names.values(), *known.values()} - {""})


def _unnamed(state: State, entry: PodResourceClaim) -> ResourceClaim | None:
    """A claim that was made for this entry, whatever it is called."""
    fitting = (
        claim
        for claim in state.claims.values()
        if is_made_for(claim, state.pod) and claim.metadata.annotations.get(POD_CLAIM) == entry.name
    )
    return min(fitting, key=lambda claim: claim.metadata.name, default=None)


def _made(state: State, entry: PodResourceClaim) -> Iterator[Action]:
    pod, template = state.pod, state.templates.get(entry.resource_claim_template_name)
    if template is None:
        yield _failed(
            pod, entry, f'resource claim template "{entry.resource_claim_template_name}": not found'
        )
        return
    given = template.spec.metadata
    metadata = ObjectMeta(
        generate_name=base_name(pod.metadata.name, entry.name),
        namespace=pod.metadata.namespace,
        labels=given.labels,
        annotations={**given.annotations, POD_CLAIM: entry.name},
        owner_references=(controller_reference(pod),),
    )
    yield Create(ResourceClaim(metadata=metadata, spec=template.spec.spec))


def base_name(pod: str, entry: str) -> str:
    """What a generated name starts with; both parts are shortened alike when they are long."""
    whole = f"{pod}-{entry}-"
    if len(whole) <= _LONGEST:
        return whole
    part, rest = len(pod) * _LONGEST // len(whole), len(entry) * _LONGEST // len(whole)
    return f"{pod[:part]}-{entry[:rest]}"


def _written(pod: Pod, names: Mapping[str, str]) -> Iterator[Action]:
    wanted = tuple(PodResourceClaimStatus(name=one, resource_claim_name=name) for one, name in names.items())
    if {one.name: one for one in pod.status.resource_claim_statuses} != {one.name: one for one in wanted}:
        yield PatchStatus(pod, replace(pod, status=replace(pod.status, resource_claim_statuses=wanted)))


def _reserved(state: State, names: Iterable[str]) -> Iterator[Action]:
    pod = state.pod
    user = ResourceClaimConsumerReference(resource="pods", name=pod.metadata.name, uid=pod.metadata.uid)
    for name in sorted(names):
        claim = state.claims.get(name)
        if claim is None or claim.status.allocation is None:
            continue
        users = claim.status.reserved_for
        if len(users) < MOST_USERS and all(one.uid != user.uid for one in users):
            status = replace(claim.status, reserved_for=(*users, user))
            yield PatchStatus(claim, replace(claim, status=status))


def _failed(pod: Pod, entry: PodResourceClaim, problem: str) -> Emit:
    return Emit(pod, "Warning", "FailedResourceClaimCreation", f"PodResourceClaim {entry.name}: {problem}")


def _foreign(claim: ResourceClaim, pod: Pod) -> str:
    at = f"{claim.metadata.namespace}/{claim.metadata.name}"
    return f"ResourceClaim {at} was not created for pod {pod.metadata.namespace}/{pod.metadata.name} (pod is not owner)"
