"""What a claim asks for, brought into one form: a list of wishes, each with alternatives in order of preference. Pure."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from kybern.api.resource_v1 import (
    DeviceClass,
    DeviceSelector,
    DeviceSubRequest,
    DeviceToleration,
    ExactDeviceRequest,
    ResourceClaim,
)

ALL = "All"


class Unfulfillable(Exception):
    """No node can ever give what is asked, as things are; says why in upstream's words."""


@dataclass(frozen=True, slots=True)
class Alternative:
    """Devices of a class. ``count`` 0 stands for all there are; ``name`` is REQUEST or REQUEST/SUBREQUEST."""

    name: str
    request: str
    device_class: DeviceClass
    selectors: tuple[DeviceSelector, ...]
    count: int
    tolerations: tuple[DeviceToleration, ...]
    capacity: Mapping[str, str]
    admin: bool = False


type Wish = tuple[Alternative, ...]
type Classes = Callable[[str], DeviceClass | None]


def wishes(claim: ResourceClaim, classes: Classes) -> tuple[Wish, ...]:
    """One wish for each request. Raises Unfulfillable for a class that is not there."""
    found = []
    for request in claim.spec.devices.requests if claim.spec.devices is not None else ():
        parts = [(request.name, request.exactly)] if request.exactly is not None else []
        parts += [(f"{request.name}/{one.name}", one) for one in request.first_available]  # type: ignore[misc]
        if not parts:
            raise Unfulfillable(f"request {request.name}: unsupported request type")
        found.append(tuple(_alternatives(request.name, parts, classes)))
    return tuple(found)


def _alternatives(
    request: str,
    parts: list[tuple[str, ExactDeviceRequest]] | list[tuple[str, DeviceSubRequest]],
    classes: Classes,
) -> Iterator[Alternative]:
    for name, one in parts:
        device_class = classes(one.device_class_name)
        if device_class is None:
            raise Unfulfillable(f"request {name}: device class {one.device_class_name} does not exist")
        yield Alternative(
            name,
            request,
            device_class,
            (*device_class.spec.selectors, *one.selectors),
            0 if one.allocation_mode == ALL else one.count or 1,
            one.tolerations,
            one.capacity.requests if one.capacity is not None else {},
            admin=isinstance(one, ExactDeviceRequest) and bool(one.admin_access),
        )
