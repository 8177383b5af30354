"""What topologyManagerPolicyOptions say. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from kybern.daemon.flags import boolean
from kybern.kubelet.topology.merge import POLICIES, SCOPES

_LEAST = 8
_CLOSEST, _MOST = "prefer-closest-numa-nodes", "max-allowable-numa-nodes"


@dataclass(frozen=True, slots=True)
class Options:
    """``most``: how many NUMA nodes a machine may have, since the work grows with the sets of them."""

    closest: bool = False
    most: int = _LEAST


def options(given: Mapping[str, str]) -> Options:
    """Raises ValueError."""
    found = Options()
    for name, text in given.items():
        if name == _CLOSEST:
            found = replace(found, closest=_bool(text))
        elif name == _MOST and text.isdigit() and int(text) >= _LEAST:
            found = replace(found, most=int(text))
        elif name == _MOST and text.isdigit():
            raise ValueError(f'the minimum value of "{_MOST}" should not be less than {_LEAST}')
        elif name == _MOST:
            raise ValueError(f'bad value for option "{name}": {text}')
        else:
            raise ValueError(f'unknown Topology Manager Policy option: "{name}"')
    return found


def _bool(text: str) -> bool:
    try:
        return boolean(text)
    except ValueError as problem:
        raise ValueError(f'bad value for option "{_CLOSEST}": {problem}') from problem


def check(policy: str, scope: str, given: Mapping[str, str]) -> None:
    """Raises ValueError for what there is not."""
    if policy not in POLICIES:
        raise ValueError(f'topology manager policy "{policy}" is none of {", ".join(POLICIES)}')
    if scope not in SCOPES:
        raise ValueError(f'topology manager scope "{scope}" is none of {", ".join(SCOPES)}')
    options(given)
