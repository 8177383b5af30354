"""What is served: upstream's ``--runtime-config``, and the features that some of it needs. Pure.

All that is served by default stays served: the server's own work needs most of it, and nothing gains by less. What
upstream could switch on and is not here is refused by name; all versions of a level (``api/beta=true``) are those that
are here.
"""

import re
from collections.abc import Collection, Iterator, Mapping

from kybern.api.kinds import GATES, KINDS, OPTIONAL
from kybern.daemon.flags import boolean
from kybern.machinery.kind import Kind
from kybern.machinery.schema import Schema

type At = tuple[str, str]
type Switches = Mapping[str, str]

# In the order in which upstream asks them, each more special than the one before.
_LEVELS: Mapping[str, str] = {
    "api/all": r"v[0-9].*",
    "api/ga": r"v[0-9]+",
    "api/beta": r"v[0-9]+beta[0-9]+",
    "api/alpha": r"v[0-9]+alpha[0-9]+",
}
_GONE = "api/legacy"  # upstream takes it, and does nothing about it
# Every group and version that upstream knows can be deleted from, and says so here.
_DELETION = "io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions"


def served(switches: Switches, gates: Collection[str]) -> tuple[Kind, ...]:
    """The kinds to serve, with these feature gates on. Raises ValueError with upstream's words where it has some."""
    wanted = _wanted(switches)
    return (*KINDS, *(kind for kind in OPTIONAL if _at(kind) in wanted and GATES[_at(kind)] in gates))


def ungated(switches: Switches, gates: Collection[str]) -> Iterator[tuple[At, str]]:
    """What is switched on and yet not served, and the feature gate that it lacks."""
    for at in sorted({_at(kind) for kind in OPTIONAL} & _wanted(switches)):
        if GATES[at] not in gates:
            yield at, GATES[at]


def _at(kind: Kind) -> At:
    return kind.group, kind.version


def _wanted(switches: Switches) -> frozenset[At]:
    """The groups and versions of optional kinds that are switched on."""
    usual, optional = {_at(kind) for kind in KINDS}, {_at(kind) for kind in OPTIONAL}
    levels = {key: value for key, value in switches.items() if key in _LEVELS}
    single = {key: value for key, value in switches.items() if key not in _LEVELS and key != _GONE}
    named = _named(single, usual, optional)
    found = {at: at in usual for at in usual | optional}
    for key, pattern in _LEVELS.items():
        if key in levels:
            matching = (at for at in found if re.fullmatch(pattern, at[1]))
            found |= dict.fromkeys(matching, _is_on(key, levels[key]))
    for at, value in named.items():
        found[at] = _is_on("/".join(filter(None, at)), value)
    for group, version in sorted(usual):
        if not found[group, version]:
            which = f"{group}/{version}" if group else version
            raise ValueError(f"cannot switch off {which}: all that is served by default stays served here")
    return frozenset(at for at in optional if found[at])


def _parsed(key: str) -> tuple[At, str]:
    """GROUP/VERSION, or VERSION of the core group, and the resource of GROUP/VERSION/RESOURCE."""
    parts = key.split("/")
    if parts[0] == "v1" and len(parts) <= 2:
        return ("", "v1"), "".join(parts[1:])
    if len(parts) not in (2, 3) or not all(parts):
        raise ValueError(f"runtime-config invalid key {key}")
    return (parts[0], parts[1]), "".join(parts[2:])


def _named(switches: Switches, usual: Collection[At], optional: Collection[At]) -> Mapping[At, str]:
    """What is said of each group and version. A resource stands for its version; of an optional one it must be here."""
    parsed = {key: _parsed(key) for key in switches}
    _known({at: switches[key] for key, (at, _) in parsed.items()}, {*usual, *optional})
    resources = {(_at(kind), kind.plural) for kind in OPTIONAL}
    found = {}
    for key, (at, resource) in parsed.items():
        if at not in optional or not resource or (at, resource) in resources:
            found[at] = switches[key]
        elif _is_on(key, switches[key]):
            raise ValueError(f"cannot serve {key}: it is not in this program; leave it out")
    return found


def _known(named: Mapping[At, str], here: Collection[At]) -> None:
    registered = {
        (one["group"], one["version"])
        for one in Schema.load().definitions[_DELETION]["x-kubernetes-group-version-kind"]
    } | set(here)
    groups = {group for group, _ in registered}
    if strange := sorted({group for group, _ in named} - groups):
        raise ValueError(f"unknown api groups {','.join(strange)}")
    for at, value in named.items():
        which = "/".join(filter(None, at))
        if at not in registered:
            raise ValueError(f"group version {which} that has not been registered")
        if at not in here and _is_on(which, value):
            raise ValueError(f"cannot serve {which}: it is not in this program; leave it out")


def _is_on(key: str, value: str) -> bool:
    try:
        return not value or boolean(value)
    except ValueError as problem:
        raise ValueError(f"invalid value of {key}: {value}, err: {problem}") from problem
