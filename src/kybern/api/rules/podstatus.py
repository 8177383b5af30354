"""Addresses in a pod's status: each has an older name for one and a newer for all, and both say the same."""

from collections.abc import Iterator

from kybern.api.rules.causes import all_invalid, invalid
from kybern.api.rules.formats import ip
from kybern.machinery.errors import Cause
from kybern.machinery.kind import Raw


def pair_own(status: Raw) -> None:
    """The pod's own addresses are paired wherever one is read: upstream's conversion of the version does so."""
    _pair(status, "podIP", "podIPs")


def pair_addresses(status: Raw) -> None:
    for one, every in (("podIP", "podIPs"), ("hostIP", "hostIPs")):
        _pair(status, one, every)


def _pair(status: Raw, one: str, every: str) -> None:
    address, found = status.get(one), status.get(every) or []
    if address and (not found or found[0].get("ip") != address):
        status[every] = [{"ip": address}]
    elif found and not address:
        status[one] = found[0].get("ip", "")


def addresses(new: Raw, old: Raw | None) -> Iterator[Cause]:
    """What upstream refuses (validatePodIPs, validateHostIPs): all nodes make rules of what one kubelet says."""
    for every in ("podIPs", "hostIPs"):
        found, before = (_told(raw, every) for raw in (new, old or {}))
        for i, address in enumerate(found):
            if address not in before:  # one that was there may stay
                yield from all_invalid(f"status.{every}[{i}]", address, ip(address))
        if len(found) > 2 or (len(found) == 2 and len({":" in address for address in found}) == 1):
            shown = [{"IP": address} for address in found]
            yield invalid(f"status.{every}", shown, "may specify no more than one IP for each IP family")


def _told(raw: Raw, every: str) -> list[str]:
    return [one.get("ip", "") for one in (raw.get("status") or {}).get(every) or ()]
