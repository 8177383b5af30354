"""What topologyManagerPolicyOptions say. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from kybern.kubelet.topology.merge import POLICIES, SCOPES

_LEAST = 8
_CLOSEST, _MOST = "prefer-closest-numa-nodes", "max-allowable-numa-nodes"
# What Go's ParseBool takes.
_BOOLS = {
    **dict.fromkeys(("1", "t", "T", "true", "TRUE", "True"), True),
    **dict.fromkeys(("0", "f", "F", "false", "FALSE", "False"), False),
}


@dataclass(frozen=True, slots=True)
class Options:
    """``most``: how many NUMA nodes a machine may have, since the work grows with the sets of them."""

    closest: bool = False
    most: int = _LEAST


def options(given: Mapping[str, str]) -> Options:
    """Raises ValueError."""
    found = Options()
    for name, text in given.items():
        if name == _CLOSEST and text in _BOOLS:
            found = replace(found, closest=_BOOLS[text])
        elif name == _MOST and text.isdigit() and int(text) >= _LEAST:
            found = replace(found, most=int(text))
        elif name == _MOST and text.isdigit():
            raise ValueError(f'the minimum value of "{_MOST}" should not be less than {_LEAST}')
        elif name in (_CLOSEST, _MOST):
            raise ValueError(f'bad value for option "{name}": {text}')
        else:
            raise ValueError(f'unknown Topology Manager Policy option: "{name}"')
    return found


def check(policy: str, scope: str, given: Mapping[str, str]) -> None:
    """Raises ValueError for what there is not."""
    if policy not in POLICIES:
        raise ValueError(f'topology manager policy "{policy}" is none of {", ".join(POLICIES)}')
    if scope not in SCOPES:
        raise ValueError(f'topology manager scope "{scope}" is none of {", ".join(SCOPES)}')
    options(given)
