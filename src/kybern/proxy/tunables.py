"""Settings of the kernel that kube-proxy needs, by the names of their files."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from kybern.netfilter.programs import CannotApply

LOG = logging.getLogger(__name__)
_PLACE = Path("/proc/sys")
_FLOWS = "net/netfilter/nf_conntrack_"


@dataclass(frozen=True, slots=True)
class FlowTable:
    """How the kernel is to keep flows, with upstream's defaults (SetDefaults_KubeProxyConfiguration). Times in seconds.

    Nothing is set for 0 or False. ``max_per_core`` is how many flows for each processor, ``minimum`` how many at least.
    """

    max_per_core: int = 32768
    minimum: int = 131072
    tcp_established: float = 86400.0
    tcp_close_wait: float = 3600.0
    tcp_be_liberal: bool = False
    udp: float = 0.0
    udp_stream: float = 0.0

    def settings(self) -> dict[str, str]:
        """Those that have a value of their own."""
        times = {
            "tcp_timeout_established": self.tcp_established,
            "tcp_timeout_close_wait": self.tcp_close_wait,
            "udp_timeout": self.udp,
            "udp_timeout_stream": self.udp_stream,
        }
        found = {f"{_FLOWS}{name}": f"{seconds:.0f}" for name, seconds in times.items() if seconds > 0}
        if self.tcp_be_liberal:
            found[f"{_FLOWS}tcp_be_liberal"] = "1"
        return found

    def room(self, cores: int) -> int:
        """How many flows there has to be room for; 0 leaves it as it is."""
        return max(self.max_per_core * cores, self.minimum) if self.max_per_core > 0 else 0


def keep_flows(table: FlowTable, cores: int) -> None:
    """Have the kernel keep flows so. What cannot be set is told: in a container, the machine's own kernel decides."""
    wanted = table.settings()
    room = _PLACE / f"{_FLOWS}max"
    try:
        if int(room.read_text()) < table.room(cores):
            wanted[f"{_FLOWS}max"] = str(table.room(cores))
    except (OSError, ValueError) as problem:
        LOG.warning("cannot read how many flows the kernel has room for: %s", problem)
    for name, value in wanted.items():
        try:
            set_all({name: value})
        except CannotApply as problem:
            LOG.warning("%s", problem)


def set_all(wanted: Mapping[str, str]) -> None:
    """Write those that are not so. Raises CannotApply."""
    for name, value in wanted.items():
        path = _PLACE / name
        try:
            if path.read_text().strip() != value:
                path.write_text(value)
        except OSError as problem:
            dotted = name.replace("/", ".")
            raise CannotApply(
                f"cannot set {dotted} to {value}: {problem.strerror}; let kube-proxy write to {path}, or set it before"
            ) from problem
