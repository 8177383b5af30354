"""Whether a device is what a class or a request selects: CEL over its driver, attributes and capacity. Pure.

Upstream: k8s.io/dynamic-resource-allocation/cel. Names without a domain belong to the driver's own; of a domain that the
device knows nothing about, all attributes are missing rather than the domain.
"""

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from typing import Any, override

from kybern.api.resource_v1 import DeviceAttribute, DeviceSelector
from kybern.api.rules.deviceselectors import environment
from kybern.machinery.cel import BudgetExceeded, CompileError, EvaluationError, Program
from kybern.machinery.cel.libraries import quantity, semver
from kybern.scheduler.devices.pools import Offer

BUDGET = 1_000_000  # upstream: CELSelectorExpressionMaxCost
_REMEMBERED = 100_000


class Unclear(Exception):
    """An expression that does not say yes or no."""


class _Domains(dict[str, Any]):
    def __missing__(self, _name: str) -> Mapping[str, Any]:
        return {}

    @override
    def get(self, name: Any, default: Any = None) -> Any:
        return self[name]

    @override
    def __contains__(self, _name: object) -> bool:
        return True


class Selectors:
    """Answers are remembered by the version of the device; the least recently asked are forgotten."""

    def __init__(self) -> None:
        self._programs: dict[str, Program] = {}
        self._known: OrderedDict[tuple[str, tuple[str, str, str]], bool] = OrderedDict()

    def match(self, selectors: Iterable[DeviceSelector], offer: Offer) -> bool:
        """Whether all of them select the device. Raises Unclear."""
        return all(self._matches(one.cel.expression, offer) for one in selectors if one.cel is not None)

    def _matches(self, expression: str, offer: Offer) -> bool:
        key = expression, offer.version
        if key in self._known:
            self._known.move_to_end(key)
            return self._known[key]
        found = self._known[key] = self._evaluated(expression, offer)
        if len(self._known) > _REMEMBERED:
            self._known.popitem(last=False)
        return found

    def _evaluated(self, expression: str, offer: Offer) -> bool:
        try:
            if expression not in self._programs:
                self._programs[expression] = environment().compile(expression)
            found, _cost = self._programs[expression].evaluate({"device": described(offer)}, BUDGET)
        except (CompileError, EvaluationError, BudgetExceeded) as problem:
            raise Unclear(str(problem)) from problem
        if not isinstance(found, bool):
            raise Unclear(f"the expression {expression} gives no yes or no")
        return found


def described(offer: Offer) -> Mapping[str, Any]:
    """What an expression sees as ``device``. Raises Unclear for a version that is none."""
    attributes, capacity, driver = _Domains(), _Domains(), offer.id.driver
    for name, attribute in offer.device.attributes.items():
        domain, short = split(name, driver)
        attributes.setdefault(domain, {})[short] = value(attribute)
    for name, one in offer.device.capacity.items():
        domain, short = split(name, driver)
        capacity.setdefault(domain, {})[short] = quantity.of_string(one.value)
    return {
        "driver": driver,
        "attributes": attributes,
        "capacity": capacity,
        "allowMultipleAllocations": bool(offer.device.allow_multiple_allocations),
    }


def split(name: str, driver: str) -> tuple[str, str]:
    """Domain and rest of a name."""
    domain, sign, short = name.partition("/")
    return (domain, short) if sign else (driver, name)


def value(attribute: DeviceAttribute) -> Any:
    for found in (attribute.int_, attribute.bool_):
        if found is not None:
            return found
    if attribute.version:
        try:
            return semver.read(attribute.version)
        except EvaluationError as problem:
            raise Unclear(f"parse semantic version: {problem}") from problem
    return attribute.string
