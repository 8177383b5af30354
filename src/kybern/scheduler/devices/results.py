"""What was chosen, as the API writes it into a claim: devices, configuration, and the nodes that can use them. Pure."""

from collections.abc import Callable, Iterator, Sequence

from kybern.api.core_v1 import Node, NodeSelector, NodeSelectorRequirement, NodeSelectorTerm
from kybern.api.resource_v1 import (
    AllocationResult,
    DeviceAllocationConfiguration,
    DeviceAllocationResult,
    DeviceRequestAllocationResult,
    ResourceClaim,
)
from kybern.scheduler.devices.allocate import Choice

type Named = Callable[[], str]


def results(
    claims: Sequence[ResourceClaim], choices: Sequence[Choice], node: Node, share: Named
) -> tuple[AllocationResult, ...]:
    """One for each claim. ``share`` gives a new id for each part of a shared device."""
    found = []
    for number, claim in enumerate(claims):
        own = [one for one in choices if one.claim == number]
        devices = DeviceAllocationResult(
            results=tuple(_result(one, share) for one in own), config=tuple(_configuration(claim, own))
        )
        found.append(AllocationResult(devices=devices, node_selector=_selector(own, node)))
    return tuple(found)


def _result(choice: Choice, share: Named) -> DeviceRequestAllocationResult:
    driver, pool, device = choice.offer.id
    return DeviceRequestAllocationResult(
        request=choice.wish.name,
        driver=driver,
        pool=pool,
        device=device,
        admin_access=True if choice.wish.admin else None,
        tolerations=choice.wish.tolerations,
        share_id=share() if choice.share is not None else "",
        consumed_capacity={name: str(amount) for name, amount in (choice.share or {}).items()},
        binding_conditions=choice.offer.device.binding_conditions,
        binding_failure_conditions=choice.offer.device.binding_failure_conditions,
    )


def _configuration(
    claim: ResourceClaim, choices: Sequence[Choice]
) -> Iterator[DeviceAllocationConfiguration]:
    """That of classes first, each once and with all requests that use it; then that of the claim, where it applies."""
    classes = {choice.wish.device_class.metadata.name: choice.wish.device_class for choice in choices}
    for name, one in classes.items():
        users = tuple(
            dict.fromkeys(c.wish.name for c in choices if c.wish.device_class.metadata.name == name)
        )
        for config in one.spec.config:
            yield DeviceAllocationConfiguration(source="FromClass", requests=users, opaque=config.opaque)
    names = {name for choice in choices for name in (choice.wish.name, choice.wish.request)}
    for given in claim.spec.devices.config if claim.spec.devices is not None else ():
        if not given.requests or names & set(given.requests):
            yield DeviceAllocationConfiguration(
                source="FromClaim", requests=given.requests, opaque=given.opaque
            )


def _selector(choices: Sequence[Choice], node: Node) -> NodeSelector | None:
    """The nodes on which all of the devices can be used; None for every node."""
    requirements: list[NodeSelectorRequirement] = []
    fields: list[NodeSelectorRequirement] = []
    for choice in choices:
        if choice.offer.node_name or choice.offer.device.binds_to_node:
            here = NodeSelectorRequirement(key="metadata.name", operator="In", values=(node.metadata.name,))
            return NodeSelector(node_selector_terms=(NodeSelectorTerm(match_fields=(here,)),))
        selector = choice.offer.selector
        for term in selector.node_selector_terms if selector is not None else ():
            requirements += [one for one in term.match_expressions if one not in requirements]
            fields += [one for one in term.match_fields if one not in fields]
    if not requirements and not fields:
        return None
    together = NodeSelectorTerm(match_expressions=tuple(requirements), match_fields=tuple(fields))
    return NodeSelector(node_selector_terms=(together,))
