"""What may stand between a device and a wish: taints, and what devices of one claim have to have in common. Pure."""

from collections.abc import Iterable

from kybern.api.resource_v1 import DeviceConstraint, DeviceTaint, DeviceToleration
from kybern.scheduler.devices.pools import Offer
from kybern.scheduler.devices.selectors import split, value
from kybern.scheduler.devices.wishes import Alternative

_KEEPS_OFF = ("NoSchedule", "NoExecute")


def tolerable(taints: Iterable[DeviceTaint], tolerations: Iterable[DeviceToleration]) -> bool:
    """Whether a device with these taints may be given to who tolerates those."""
    return all(
        taint.effect not in _KEEPS_OFF or any(_tolerates(one, taint) for one in tolerations)
        for taint in taints
    )


def _tolerates(toleration: DeviceToleration, taint: DeviceTaint) -> bool:
    """Rules of nodes' taints (upstream: resourceclaim.ToleratesTaint)."""
    if toleration.effect and toleration.effect != taint.effect:
        return False
    if toleration.key and toleration.key != taint.key:
        return False
    return toleration.operator == "Exists" or toleration.value == taint.value


def holds(constraint: DeviceConstraint, chosen: Iterable[tuple[Alternative, Offer]]) -> bool:
    """Whether a constraint allows these devices of one claim together. A device without the attribute fits nowhere."""
    names = set(constraint.requests)
    wanted = constraint.match_attribute or constraint.distinct_attribute
    values = [
        _attribute(offer, wanted)
        for wish, offer in chosen
        if not names or wish.request in names or wish.name in names
    ]
    if None in values:
        return False
    different = {(type(one), one) for one in values}
    return len(different) <= 1 if constraint.match_attribute else len(different) == len(values)


def _attribute(offer: Offer, name: str) -> object:
    """A device's attribute by its full name; None when it has none of that."""
    driver = offer.id.driver
    wanted = split(name, driver)
    for known, attribute in offer.device.attributes.items():
        if split(known, driver) == wanted:
            return value(attribute)
    return None
