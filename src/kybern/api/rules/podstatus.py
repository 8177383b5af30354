"""Addresses in a pod's status: each has an older name for one and a newer for all, and both say the same."""

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
