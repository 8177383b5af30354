"""What the kubelet's own process is given: its place in the kernel's choice of whom to kill, and files that it may open."""

import logging
import resource
from pathlib import Path

from kybern.kubelet.settings import Settings

log = logging.getLogger(__name__)

_SCORE = Path("/proc/self/oom_score_adj")


def prepare(settings: Settings, score: Path = _SCORE) -> None:
    """As oomScoreAdj and maxOpenFiles say. Without the right to do so it goes on, and tells of it."""
    try:
        score.write_text(str(settings.oom_score))
    except OSError as problem:
        log.warning("cannot set %s to %s: %s", score, settings.oom_score, problem.strerror)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits(settings.most_files, most_of_kernel()))
    except (OSError, ValueError) as problem:
        log.warning("cannot allow %s open files: %s", settings.most_files, problem)


def limits(wanted: int, most: int) -> tuple[int, int]:
    """Soft and hard limit of open files: no more than the kernel has at all. Pure."""
    either = min(wanted, most)
    return either, either


def most_of_kernel() -> int:
    """How many files one process may have open at most."""
    return int(Path("/proc/sys/fs/nr_open").read_text())
