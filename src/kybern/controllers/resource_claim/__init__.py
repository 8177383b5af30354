"""Give pods the device claims that their templates ask for, and take claims back from pods that do not run any more.

Reads Pod, ResourceClaim, ResourceClaimTemplate. Writes ResourceClaim, Pod (status.resourceClaimStatuses). A claim's key is
its name; a pod's is ``pod/NAME``, which no claim can be called.

Upstream: pkg/controller/resourceclaim (KEP-4381).
"""

from collections.abc import Iterable

from kybern.api.core_v1 import Pod
from kybern.api.resource_v1 import ResourceClaim, ResourceClaimTemplate
from kybern.controllers.resource_claim import claims, pods
from kybern.loop.controller import Action, Controller, Key, View
from kybern.loop.settings import Settings

_POD = "pod/"

type State = pods.State | claims.State


def observe(view: View, key: Key) -> State | None:
    if key.name.startswith(_POD):
        return pods.observe(view, key.namespace, key.name.removeprefix(_POD))
    return claims.observe(view, key.namespace, key.name)


def diff(state: State) -> Iterable[Action]:
    return pods.diff(state) if isinstance(state, pods.State) else claims.diff(state)


def of_pod(pod: Pod, view: View) -> Iterable[Key]:
    """The pod itself, and every claim that it uses or owns: it may have ended."""
    if not pod.spec.resource_claims:
        return
    yield Key(pod.metadata.namespace, _POD + pod.metadata.name)
    names = {name for name in pods.named(pod).values() if name}
    names |= {claim.metadata.name for claim in view.index(ResourceClaim, "pod", pod.metadata.uid)}
    for name in sorted(names):
        yield Key(pod.metadata.namespace, name)


def of_claim(claim: ResourceClaim, view: View) -> Iterable[Key]:
    """The pods that wait for a claim, or whose claim went away."""
    for pod in view.index(Pod, "resource claim", f"{claim.metadata.namespace}/{claim.metadata.name}"):
        yield Key(pod.metadata.namespace, _POD + pod.metadata.name)
    owner = claims.owner(claim)
    if owner is not None:
        yield Key(claim.metadata.namespace, _POD + owner.name)


def of_template(template: ResourceClaimTemplate, view: View) -> Iterable[Key]:
    at = f"{template.metadata.namespace}/{template.metadata.name}"
    for pod in view.index(Pod, "resource claim template", at):
        yield Key(pod.metadata.namespace, _POD + pod.metadata.name)


def by_claim(pod: Pod) -> Iterable[str]:
    """Index: pods by the claims that they use."""
    return (f"{pod.metadata.namespace}/{name}" for name in pods.named(pod).values() if name)


def by_template(pod: Pod) -> Iterable[str]:
    """Index: pods by the templates of their claims."""
    for one in pod.spec.resource_claims:
        if one.resource_claim_template_name:
            yield f"{pod.metadata.namespace}/{one.resource_claim_template_name}"


def by_pod(claim: ResourceClaim) -> Iterable[str]:
    """Index: claims by the uid of the pod that owns them."""
    found = claims.owner(claim)
    if found is not None:
        yield found.uid


def controller(_settings: Settings) -> Controller[State]:
    return Controller(
        "resourceclaim-controller",
        ResourceClaim,
        observe,
        diff,
        watches=((Pod, of_pod), (ResourceClaim, of_claim), (ResourceClaimTemplate, of_template)),
        indexes=(
            (Pod, "resource claim", by_claim),
            (Pod, "resource claim template", by_template),
            (ResourceClaim, "pod", by_pod),
        ),
        component="resource-claim-controller",
        source="resource_claim",
    )
