"""Claims for devices, classes of devices, and slices of pools."""

from collections.abc import Iterator
from functools import partial

from kybern.api.rules import deviceselectors, within
from kybern.api.rules.causes import all_invalid, duplicate, invalid, one_of, required, unchanged
from kybern.api.rules.formats import label, subdomain
from kybern.api.rules.pods.scheduling import node_selector
from kybern.machinery.errors import Cause
from kybern.machinery.kind import Raw

_ONE_REQUEST = "exactly one of `exactly` or `firstAvailable` is required"
# Upstream says the same of none.
_ONE_ATTRIBUTE = (
    'exactly one of "matchAttribute" or "distinctAttribute" is required, but multiple fields are set'
)
_PLACES = ("nodeName", "nodeSelector", "allNodes", "perDeviceNodeSelection")
_ONE_PLACE = "exactly one of `nodeName`, `nodeSelector`, `allNodes`, `perDeviceNodeSelection` is required"


def claim(new: Raw, old: Raw | None) -> Iterator[Cause]:
    yield from _spec("spec", new.get("spec") or {})
    if old is not None:
        yield from unchanged("spec", new.get("spec") or {}, old.get("spec") or {})


def template(new: Raw, old: Raw | None) -> Iterator[Cause]:
    yield from _spec("spec.spec", (new.get("spec") or {}).get("spec") or {})
    if old is not None:
        show = partial(within.shown, "ResourceClaimTemplateSpec")
        yield from unchanged("spec", new.get("spec") or {}, old.get("spec") or {}, show)


def _spec(field: str, spec: Raw) -> Iterator[Cause]:
    devices, at = spec.get("devices") or {}, f"{field}.devices"
    names: set[str] = set()
    for i, request in enumerate(devices.get("requests") or ()):
        yield from _request(f"{at}.requests[{i}]", request)
        name = request.get("name", "")
        if name in names:
            yield duplicate(f"{at}.requests[{i}].name", name)
        names.add(name)
    for i, constraint in enumerate(devices.get("constraints") or ()):
        yield from _constraint(f"{at}.constraints[{i}]", constraint, names)
    for i, config in enumerate(devices.get("config") or ()):
        yield from _config(f"{at}.config[{i}]", config)


def _request(field: str, raw: Raw) -> Iterator[Cause]:
    name, exactly, choices = raw.get("name", ""), raw.get("exactly"), raw.get("firstAvailable") or []
    yield from all_invalid(f"{field}.name", name, label(name))
    if (exactly is None) == (not choices):
        yield required(field, _ONE_REQUEST)
    if exactly is not None:
        yield from _wanted(f"{field}.exactly", exactly)
    for i, choice in enumerate(choices):
        at, own = f"{field}.firstAvailable[{i}]", choice.get("name", "")
        yield from all_invalid(f"{at}.name", own, label(own))
        yield from _wanted(at, choice)


def _wanted(field: str, raw: Raw) -> Iterator[Cause]:
    name, mode, count = raw.get("deviceClassName", ""), raw.get("allocationMode"), raw.get("count") or 0
    if not name:
        yield required(f"{field}.deviceClassName")
    else:
        yield from all_invalid(f"{field}.deviceClassName", name, subdomain(name))
    yield from _selectors(f"{field}.selectors", raw.get("selectors") or [])
    if mode == "ExactCount" and count <= 0:
        yield invalid(f"{field}.count", count, "must be greater than zero")
    elif mode == "All" and count:
        yield invalid(f"{field}.count", count, "must not be specified when allocationMode is 'All'")
    elif mode not in ("All", "ExactCount"):
        yield from one_of(f"{field}.allocationMode", mode, ("All", "ExactCount"))


def _selectors(field: str, found: list[Raw]) -> Iterator[Cause]:
    for i, choice in enumerate(found):
        if choice.get("cel") is None:
            yield required(f"{field}[{i}].cel")
        else:
            expression = choice["cel"].get("expression", "")
            yield from deviceselectors.selector(f"{field}[{i}].cel.expression", expression)


def _constraint(field: str, raw: Raw, names: set[str]) -> Iterator[Cause]:
    for i, name in enumerate(raw.get("requests") or ()):
        if name.split("/")[0] not in names:
            yield invalid(f"{field}.requests[{i}]", name, "must be the name of a request in the claim")
    given = [key for key in ("matchAttribute", "distinctAttribute") if raw.get(key) is not None]
    if len(given) != 1:
        yield required(field, _ONE_ATTRIBUTE)


def _config(field: str, raw: Raw) -> Iterator[Cause]:
    opaque = raw.get("opaque")
    if opaque is None:
        yield required(f"{field}.opaque")
        return
    if not opaque.get("driver"):
        yield required(f"{field}.opaque.driver")
    if opaque.get("parameters") is None:
        yield required(f"{field}.opaque.parameters")


def device_class(new: Raw, _old: Raw | None) -> Iterator[Cause]:
    spec = new.get("spec") or {}
    yield from _selectors("spec.selectors", spec.get("selectors") or [])
    for i, config in enumerate(spec.get("config") or ()):
        yield from _config(f"spec.config[{i}]", config)


def device_slice(new: Raw, old: Raw | None) -> Iterator[Cause]:
    spec = new.get("spec") or {}
    driver, pool = spec.get("driver", ""), spec.get("pool") or {}
    if not driver:
        yield required("spec.driver")
    else:
        yield from all_invalid("spec.driver", driver, subdomain(driver))
    if not pool.get("name"):
        yield required("spec.pool.name")
    if (pool.get("resourceSliceCount") or 0) <= 0:
        count = pool.get("resourceSliceCount") or 0
        yield invalid("spec.pool.resourceSliceCount", count, "must be greater than zero")
    yield from _placed(spec)
    for i, device in enumerate(spec.get("devices") or ()):
        name = device.get("name", "")
        yield from all_invalid(f"spec.devices[{i}].name", name, label(name))
    if old is not None:
        was = old.get("spec") or {}
        yield from unchanged("spec.driver", driver, was.get("driver", ""))
        yield from unchanged("spec.pool.name", pool.get("name", ""), (was.get("pool") or {}).get("name", ""))
        yield from unchanged("spec.nodeName", spec.get("nodeName"), was.get("nodeName"))


def _placed(spec: Raw) -> Iterator[Cause]:
    given = [key for key in _PLACES if spec.get(key)]
    if not given:
        yield required("spec", _ONE_PLACE)
    elif len(given) > 1:
        yield invalid("spec", f"{{`{'`, `'.join(given)}`}}", _ONE_PLACE)
    if spec.get("nodeSelector"):
        yield from node_selector("spec.nodeSelector", spec["nodeSelector"])
