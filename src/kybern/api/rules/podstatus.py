"""Addresses in a pod's status: each has an older name for one and a newer for all, and both say the same."""

from kybern.machinery.kind import Raw


def pair_addresses(status: Raw) -> None:
    for one, every in (("podIP", "podIPs"), ("hostIP", "hostIPs")):
        address, found = status.get(one), status.get(every) or []
        if address and (not found or found[0].get("ip") != address):
            status[every] = [{"ip": address}]
        elif found and not address:
            status[one] = found[0].get("ip", "")
