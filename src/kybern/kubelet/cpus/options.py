"""What cpuManagerPolicyOptions say (pkg/kubelet/cm/cpumanager/policy_options.go); texts are upstream's. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from kybern.daemon.flags import boolean
from kybern.kubelet import gates


@dataclass(frozen=True, slots=True)
class Options:
    """``whole_cores``: no two containers on one core. ``strict``: nobody at all runs on what is reserved.

    ``by_socket``: near means the same socket, not the same NUMA node. The others say how CPUs are chosen (``assignment``).
    """

    whole_cores: bool = False
    across_nodes: bool = False
    by_socket: bool = False
    across_cores: bool = False
    strict: bool = False
    by_caches: bool = False


_NAMES: Mapping[str, tuple[str, str]] = {
    "full-pcpus-only": ("whole_cores", ""),
    "strict-cpu-reservation": ("strict", ""),
    "prefer-align-cpus-by-uncorecache": ("by_caches", ""),
    "distribute-cpus-across-numa": ("across_nodes", "Beta"),
    "align-by-socket": ("by_socket", "Alpha"),
    "distribute-cpus-across-cores": ("across_cores", "Alpha"),
}
"""The field of each option, and the stage whose gate must be on (CPUManagerPolicyBetaOptions); none for stable ones."""
_APART = (
    ("full-pcpus-only", "distribute-cpus-across-cores"),
    ("distribute-cpus-across-numa", "distribute-cpus-across-cores"),
    ("prefer-align-cpus-by-uncorecache", "distribute-cpus-across-cores"),
    ("prefer-align-cpus-by-uncorecache", "distribute-cpus-across-numa"),
)


def options(given: Mapping[str, str], switches: Mapping[str, bool]) -> Options:
    """``switches``: the feature gates that were given. Raises ValueError."""
    found = Options()
    for name, text in given.items():
        if name not in _NAMES:
            raise ValueError(f'unknown CPU Manager Policy option: "{name}"')
        field, stage = _NAMES[name]
        if stage and not gates.enabled(switches, f"CPUManagerPolicy{stage}Options"):
            raise ValueError(
                f'CPU Manager Policy {stage}-level Options not enabled, but option "{name}" provided'
            )
        try:
            found = replace(found, **{field: boolean(text)})
        except ValueError as problem:
            raise ValueError(f'bad value for option "{name}": {problem}') from problem
    for one, other in _APART:
        if getattr(found, _NAMES[one][0]) and getattr(found, _NAMES[other][0]):
            raise ValueError(f"static policy options {one} and {other} can not be used at the same time")
    return found


def check(policy: str, topology: str, given: Mapping[str, str], switches: Mapping[str, bool]) -> None:
    """``topology``: topologyManagerPolicy. Raises ValueError for what cannot be together."""
    found = options(given, switches)
    if policy == "none" and given:
        spelled = " ".join(f"{name}:{text}" for name, text in sorted(given.items()))
        raise ValueError(f"none policy: received unsupported options=map[{spelled}]")
    if found.by_socket and topology == "single-numa-node":
        raise ValueError(
            "Topolgy manager single-numa-node policy is incompatible with CPUManager align-by-socket policy option"
        )
