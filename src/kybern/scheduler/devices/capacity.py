"""How much of a device that several share a wish takes: as much as was asked, brought to what the device allows. Pure.

KEP-5075: without a policy a wish takes all of a capacity; with one, the default or the next value that the policy has.
"""

from collections.abc import Mapping

from kybern.api.resource_v1 import CapacityRequestPolicy, Device
from kybern.machinery.quantity import Quantity, parse
from kybern.scheduler.devices.selectors import split


def consumed(device: Device, asked: Mapping[str, str], driver: str) -> Mapping[str, Quantity] | None:
    """What a wish takes of each capacity, by name; None when the device cannot give it."""
    known = {split(name, driver) for name in device.capacity}
    if any(split(name, driver) not in known for name in asked):
        return None
    wanted = {split(name, driver): parse(text) for name, text in asked.items()}
    found = {}
    for name, one in device.capacity.items():
        total, amount = parse(one.value), wanted.get(split(name, driver))
        if not device.allow_multiple_allocations or one.request_policy is None:
            taken = total if amount is None or amount <= total else None
        else:
            taken = _by_policy(one.request_policy, amount, total)
        if taken is None or taken > total:
            return None
        found[name] = taken
    return found


def _by_policy(policy: CapacityRequestPolicy, amount: Quantity | None, total: Quantity) -> Quantity | None:
    if amount is None:
        return parse(policy.default) if policy.default else total
    if policy.valid_values:
        fitting = sorted(one for one in map(parse, policy.valid_values) if one >= amount)
        return fitting[0] if fitting else None
    span = policy.valid_range
    if span is None:
        return amount
    least = parse(span.min) if span.min else Quantity(0, amount.format)
    if amount < least:
        return least
    if span.step:
        step = parse(span.step).nano
        steps = -(-(amount.nano - least.nano) // step)
        amount = Quantity(least.nano + steps * step, amount.format)
    return None if span.max and amount > parse(span.max) else amount
