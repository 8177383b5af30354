"""What the policies say of one pod, as rules that know nothing of nftables. Pure.

A rule allows; its conditions must all hold, one that is empty always does. All rules of the policies that select a pod
stand beside each other, so policies add up. The rules of two pods are equal when the same policies select them (and the
ports that policies name are the same in both): such pods share a chain.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from kybern.machinery.selectors import EVERYTHING
from kybern.policies.records import INGRESS, Allowed, Block, Pod, Policy, Port, Selected

type Ranges = tuple[tuple[int, int], ...]
type Blocks = tuple[tuple[int, Ranges], ...]  # by version of IP


@dataclass(frozen=True, slots=True)
class Peers:
    """Pods that a rule names: of them only those that have the named port, and then with its number, if there is one."""

    selected: Selected
    protocol: str = ""
    port: str = ""


@dataclass(frozen=True, slots=True)
class Rule:
    """``peers`` are pods, ``blocks`` ranges of addresses by version of IP, ``ports`` ranges of the protocol's ports."""

    policy: str
    peers: Peers | None = None
    blocks: Blocks = ()
    protocol: str = ""
    ports: Ranges = ()


def merged(ranges: Iterable[tuple[int, int]]) -> Ranges:
    """The same numbers in as few ranges as possible, in order: a set of nftables takes none that meet."""
    found: list[tuple[int, int]] = []
    for first, last in sorted(ranges):
        if found and first <= found[-1][1] + 1:
            found[-1] = found[-1][0], max(found[-1][1], last)
        else:
            found.append((first, last))
    return tuple(found)


def without(first: int, last: int, excepts: Ranges) -> Iterator[tuple[int, int]]:
    """What is left of a range; ``excepts`` are merged."""
    for begin, end in excepts:
        if begin > last:
            break
        if first < begin:
            yield first, begin - 1
        first = max(first, end + 1)
    if first <= last:
        yield first, last


def rules(pod: Pod, direction: str, policies: Iterable[Policy]) -> tuple[Rule, ...] | None:
    """What is allowed to the pod by the policies of its namespace; None when none isolates it in this direction."""
    found: dict[Rule, None] = {}
    isolated = False
    for policy in policies:
        allowed = policy.allowed(direction)
        if allowed is None or not policy.pods.matches(pod.labels):
            continue
        isolated = True
        for one in allowed:
            found |= dict.fromkeys(_rules(f"{policy.namespace}/{policy.name}", one, direction, pod))
    return tuple(found) if isolated else None


def _rules(policy: str, allowed: Allowed, direction: str, pod: Pod) -> Iterator[Rule]:
    for protocol, ports, name in _targets(allowed.ports, direction, pod):
        for selected, blocks in _callers(allowed.peers):
            if name:
                # Only a pod has names for its ports: where no pods are named as peers it is any pod's port.
                yield Rule(policy, Peers(selected or Selected(EVERYTHING), protocol, name), blocks)
            else:
                yield Rule(policy, Peers(selected) if selected else None, blocks, protocol, ports)


def _callers(peers: tuple[Selected | Block, ...]) -> Iterator[tuple[Selected | None, Blocks]]:
    """Each selector by itself, and all blocks together; neither of them for everybody."""
    if not peers:
        yield None, ()
    if blocks := _blocks([one for one in peers if isinstance(one, Block)]):
        yield None, blocks
    yield from ((one, ()) for one in peers if isinstance(one, Selected))


def _targets(ports: tuple[Port, ...], direction: str, pod: Pod) -> Iterator[tuple[str, Ranges, str]]:
    """Protocol, ranges and name: all that is asked for of one protocol together, and each name by itself.

    On the way in a name is the pod's own, so its numbers are known here, and there are none where it has no such port. On
    the way out each peer has a number of its own.
    """
    if not ports:
        yield "", (), ""
    numbers = [one for one in ports if not one.name]
    if direction == INGRESS:
        numbers += [
            Port(port.protocol, port.number, port.number)
            for port in pod.ports
            if any((port.name, port.protocol) == (asked.name, asked.protocol) for asked in ports)
        ]
    else:
        names = dict.fromkeys((one.protocol, one.name) for one in ports if one.name)
        yield from ((protocol, (), name) for protocol, name in names)
    for protocol in dict.fromkeys(one.protocol for one in numbers):
        mine = [one for one in numbers if one.protocol == protocol]
        whole = any(not one.first for one in mine)
        yield protocol, () if whole else merged((one.first, one.last) for one in mine), ""


def _blocks(found: list[Block]) -> Blocks:
    """All blocks as ranges, by version of IP: what one excepts another may allow."""
    ranges: dict[int, list[tuple[int, int]]] = {}
    for block in found:
        excepts = merged((int(one[0]), int(one[-1])) for one in block.excepts)
        first, last = int(block.network[0]), int(block.network[-1])
        ranges.setdefault(block.network.version, []).extend(without(first, last, excepts))
    return tuple((version, merged(found)) for version, found in sorted(ranges.items()))
