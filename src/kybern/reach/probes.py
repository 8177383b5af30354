"""What is tried between the nodes of a cluster, as scripts for their shells, and what came of it. Pure.

From each node all nodes are tried, itself, too: the kubelet's port from the node, and from a pod on it the other node's
pod, its Service by address, and its Service by name. Beside that each node's pod tries what is outside of the cluster.
Where the cluster has two families all of this is tried in each, since each has routes and rules of its own.
A probe's answer is the name of the node that was meant, so that an answer of somebody else is no success.

A script prints for each probe ``== NUMBER CODE TEXT``; all run at the same time, each with a limit of PATIENCE seconds.
"""

import re
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from enum import StrEnum

PATIENCE = 4  # seconds for one probe
PORT = 8080  # of the pods
SERVICE_PORT = 80
KUBELET_PORT = 10250
_LINE = re.compile(r"^== (\d+) (\d+) ?(.*)$")
NO_NAME = (
    "no answer to the name:"  # how a failure begins that is one of names, and not of the way behind them
)
CUT = "the answer began and did not end: large packets are lost"
_TIMED_OUT = (124, 137, 143)  # exit codes of timeout(1), in its two makes


class Way(StrEnum):
    """How the target is reached; also the heads of the table."""

    NODE = "node"
    POD = "pod"
    SERVICE = "service"
    NAME = "name"
    OUTSIDE = "outside"


@dataclass(frozen=True, slots=True)
class Probe:
    """``source`` and ``target`` are nodes; outside a target is its own address. ``at`` is an address or a name.

    ``version`` is that of IP.
    """

    way: Way
    source: str
    target: str
    at: str
    port: int = 0
    version: int = 4


@dataclass(frozen=True, slots=True)
class Result:
    """``error`` is empty when the right one answered."""

    probe: Probe
    error: str = ""


@dataclass(frozen=True, slots=True)
class Place:
    """A node with what the check put there, in one version of IP.

    ``asker`` and ``server`` are containers; what is not there is empty. ``outer`` is where its tunnel ends, which is of IPv4
    for both.
    """

    node: str
    address: str
    asker: str = ""
    asker_ip: str = ""
    server: str = ""
    server_ip: str = ""
    service_ip: str = ""
    name: str = ""
    trouble: str = ""
    version: int = 4
    outer: str = ""


type Places = Mapping[tuple[str, int], Place]
"""By node and version of IP."""


def version_of(address: str) -> int:
    return 6 if ":" in address else 4


def wanted(places: Sequence[Place], outside: Sequence[tuple[str, int]]) -> tuple[Probe, ...]:
    """All probes. ``outside`` are addresses with a port, 0 for an echo request (ping).

    What is outside is tried from places of its family; where the cluster has none such, it shall fail from those there are.
    """
    versions = {place.version for place in places}
    return tuple(
        one
        for place in places
        for one in _from(
            place,
            [other for other in places if other.version == place.version],
            [one for one in outside if _tried_from(version_of(one[0]), versions) == place.version],
        )
    )


def _tried_from(version: int, versions: AbstractSet[int]) -> int:
    return version if version in versions else min(versions)


def _from(place: Place, places: Sequence[Place], outside: Sequence[tuple[str, int]]) -> Iterator[Probe]:
    version = place.version
    for other in places:
        yield Probe(Way.NODE, place.node, other.node, other.address, KUBELET_PORT, version)
        yield Probe(Way.POD, place.node, other.node, other.server_ip, PORT, version)
        yield Probe(Way.SERVICE, place.node, other.node, other.service_ip, SERVICE_PORT, version)
        yield Probe(Way.NAME, place.node, other.node, other.name, SERVICE_PORT, version)
    for address, port in outside:
        yield Probe(Way.OUTSIDE, place.node, target(address, port), address, port, version)


def target(address: str, port: int) -> str:
    """How what is outside is shown."""
    if not port:
        return address
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def script(place: Place, probes: Sequence[Probe]) -> str:
    """What the node's shell runs as root. Probes of pods run in the asker's container, in one go."""
    numbered = list(enumerate(probes))
    own = [(number, one) for number, one in numbered if one.way is Way.NODE]
    pods = [(number, one) for number, one in numbered if one.way is not Way.NODE and one.at and place.asker]
    lines = [_SHELL, *(f"try {number} bash -c {shlex.quote(_connect(one))} &" for number, one in own)]
    if pods:
        inner = "\n".join([_SHELL, *(f"try {number} {_asked(one)} &" for number, one in pods), "wait"])
        limit = PATIENCE * 3
        lines.append(
            f"timeout {limit} ctr -n k8s.io tasks exec --exec-id reach-$$ {shlex.quote(place.asker)} "
            f"sh -c {shlex.quote(inner)} &"
        )
    return "\n".join([*lines, "wait"])


# nc and nslookup: busybox's wget, being static, cannot resolve names and falls over where the C library's files are missing.
_SHELL = (
    f'try() {{ n=$1; shift; said=$(timeout {PATIENCE} "$@" 2>&1); code=$?; '
    'echo "== $n $code $(echo "$said" | tr "\\n" " ")"; }'
)


def _connect(probe: Probe) -> str:
    return f"exec 3<>/dev/tcp/{probe.at}/{probe.port}"


def _asked(probe: Probe) -> str:
    at = shlex.quote(probe.at)
    if probe.way is Way.OUTSIDE and not probe.port:
        return f"ping -c 1 -W 3 {at}"
    if probe.way is Way.OUTSIDE:
        # A connection, and nothing said: what is outside may speak any protocol.
        return f"sh -c {shlex.quote(f'nc -w 3 {at} {probe.port} </dev/null')}"
    if probe.way is Way.NAME:
        # With a limit of its own: else a name server that is silent looks like a way that is.
        kind = "a" if probe.version == 4 else "aaaa"
        found = (
            f'said=$(timeout 2 nslookup -type={kind} {at}. 2>&1) || {{ echo "{NO_NAME} $said"; exit 1; }}; '
        )
        found += "at=$(echo \"$said\" | sed -n 's/^Address: //p' | tail -n 1); "
        return f"sh -c {shlex.quote(found + _get('$at', probe.port))}"
    return f"sh -c {shlex.quote(_get(at, probe.port))}"


def _get(at: str, port: int) -> str:
    # nc is ended before all of it is: so what has come by then is said.
    sent = f"printf 'GET / HTTP/1.0\\r\\n\\r\\n' | timeout 3 nc -w 3 {at} {port} 2>&1"
    return f'said=$({sent}) || {{ echo "$said"; exit 1; }}; echo "$said" | tail -n 1'


def results(places: Places, probes: Sequence[Probe], said: str) -> tuple[Result, ...]:
    """What a node's script printed, for the probes that it was made of."""
    answers = {int(found[1]): (int(found[2]), found[3].strip()) for found in _found(said)}
    return tuple(Result(one, _error(one, answers.get(number), places)) for number, one in enumerate(probes))


def _found(said: str) -> Iterable[re.Match[str]]:
    return (found for line in said.splitlines() if (found := _LINE.match(line)))


def _error(probe: Probe, answer: tuple[int, str] | None, places: Places) -> str:
    keys = ((name, probe.version) for name in (probe.source, probe.target))
    ends = (places[key] for key in keys if key in places)
    if probe.way is not Way.NODE and (trouble := next((one.trouble for one in ends if one.trouble), "")):
        return trouble
    if not probe.at:
        return "it has no address"
    if answer is None:
        return "the probe did not run: the machine or its container runtime does not answer"
    return _said(probe, *answer)


def _said(probe: Probe, code: int, text: str) -> str:
    """What is wrong with an answer. Of names it is told apart whether the name or the way behind it failed."""
    if not code:
        asks = probe.way in (Way.POD, Way.SERVICE, Way.NAME)
        return f'somebody else answered: "{text[:80]}"' if asks and text != probe.target else ""
    if text.startswith(NO_NAME):
        return text if text != NO_NAME else f"{NO_NAME} no name server answers"
    if "HTTP/1." in text:  # a shell may say first that it was ended
        return CUT
    if code in _TIMED_OUT or "timed out" in text:
        return f"no answer within {PATIENCE} s"
    return text.split(": ", 1)[-1][:200] or f"it failed with {code}"
