"""Devices that have to be made ready for a node before a pod is bound to it (KEP-5007). Pure.

A device names conditions in its slice; its driver sets them in the claim's ``status.devices``. The pod waits until all are
true. A failure condition that is true ends the waiting, as its time does; the next attempt gives the devices back.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta

from kybern.api.meta_v1 import Condition
from kybern.api.resource_v1 import AllocatedDeviceStatus, DeviceRequestAllocationResult, ResourceClaim

SECONDS = (
    600  # until the conditions of a claim's devices must be true (upstream: BindingTimeoutDefaultSeconds)
)


class BindingFailed(Exception):
    """A device will not be ready."""


def waits(claims: Iterable[ResourceClaim]) -> bool:
    """Whether devices of the claims have conditions."""
    return any(one.binding_conditions for claim in claims for one in _devices(claim))


def ready(claim: ResourceClaim) -> bool:
    """Whether all conditions of the claim's devices are true. Raises BindingFailed."""
    if claim.status.allocation is None:
        return False
    for device in _devices(claim):
        if not device.binding_conditions:
            continue
        status = _status(claim, device)
        if status is None:
            return False
        true = {one.type: one for one in status.conditions if one.status == "True"}
        for name in device.binding_failure_conditions:
            if name in true:
                raise BindingFailed(_failure(claim, true[name]))
        if not all(name in true for name in device.binding_conditions):
            return False
    return True


def over(claim: ResourceClaim, seconds: float, now: datetime) -> bool:
    """Whether the claim's devices have had their time."""
    allocation = claim.status.allocation
    if allocation is None or allocation.allocation_timestamp is None or not waits((claim,)):
        return False
    return allocation.allocation_timestamp + timedelta(seconds=seconds) < now


def _failure(claim: ResourceClaim, why: Condition) -> str:
    return f'claim {claim.metadata.name} binding failed: reason={why.reason}, message="{why.message}"'


def _devices(claim: ResourceClaim) -> tuple[DeviceRequestAllocationResult, ...]:
    allocation = claim.status.allocation
    return allocation.devices.results if allocation is not None and allocation.devices is not None else ()


def _status(claim: ResourceClaim, device: DeviceRequestAllocationResult) -> AllocatedDeviceStatus | None:
    wanted = device.driver, device.pool, device.device
    return next((one for one in claim.status.devices if (one.driver, one.pool, one.device) == wanted), None)
