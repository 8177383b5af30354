"""Addresses are given once, and services lead to the pods that they select."""

from collections import Counter, defaultdict
from collections.abc import Iterator

from tests.simulation.plane.world import Outside, World, is_over, is_ready, place, shown


def addresses(world: World, _outside: Outside) -> Iterator[str]:
    given = Counter(pod["status"]["podIP"] for pod in world.of("Pod") if pod["status"].get("podIP"))
    for address, count in given.items():
        if count > 1:
            yield f"{count} pods have the address {address}"


def endpoints(world: World, _outside: Outside) -> Iterator[str]:
    """Services lead to exactly the ready pods that they select."""
    slices: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
    for one in world.of("EndpointSlice"):
        service = one["metadata"]["labels"]["kubernetes.io/service-name"]
        for endpoint in one.get("endpoints") or ():
            if endpoint["conditions"].get("ready"):
                slices[place(one)[0], service] += endpoint["addresses"]
    listed = {
        place(one): [
            address["ip"] for part in one.get("subsets") or () for address in part.get("addresses") or ()
        ]
        for one in world.of("Endpoints")
    }
    for service in world.of("Service"):
        chosen = service["spec"].get("selector")
        if not chosen:
            continue
        ready = [pod for pod in world.pods(place(service)[0], chosen) if is_ready(pod) and not is_over(pod)]
        wanted = sorted(pod["status"]["podIP"] for pod in ready)
        for sort, found in (
            ("slices", slices[place(service)]),
            ("endpoints", listed.get(place(service), [])),
        ):
            if sorted(found) != wanted:
                yield f"{shown(service)}: its {sort} have {sorted(found)}, and ready are {wanted}"
