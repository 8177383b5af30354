"""Exchanging an authority, or the key of tokens. Pure: what is seen to the next step; the stages are in ``machines.trust``.

What holds: the operator's files move on only when every machine has what they said before, and its daemons have taken it
over. So everything is trusted before anybody signs with it, and nobody holds what the old one signed when its trust ends.
A run that ends anywhere is gone on with by the next one, and a deploy that comes in between does no harm.

A daemon has taken a file over when it runs with it: those that read it at their start only are restarted by the deploy,
one machine at a time, and the note that each unit leaves when it starts tells so; the others read it again by themselves.
Pods have it when the file that the kubelet put into them is the one of the namespace's config map.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

from kybern.machines.topology import Machine
from kybern.machines.trust import Stage

PODS = "/var/lib/kubelet/pods"


@dataclass(frozen=True, slots=True)
class Told:
    """What one machine says. ``files``: digests by path. ``stale`` are units that run with something older."""

    answers: bool = False
    files: Mapping[str, str] | None = None
    stale: tuple[str, ...] = ()
    pods: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Seen:
    """``wanted`` are by machine and path the digests of what is to be there; ``told`` what each machine says.

    ``deployed``: all machines were deployed to since the files were last written; until then some units may not know yet
    that they are to restart. ``pods``: what pods are to have as the authority; empty when they have nothing of it.
    ``droppable``: what the old one signed has ended.
    """

    stage: Stage
    wanted: Mapping[str, Mapping[str, str]]
    told: Mapping[str, Told]
    deployed: bool = True
    pods: str = ""
    droppable: bool = True


@dataclass(frozen=True, slots=True)
class Deploy:
    """Machines have other files, or daemons that run with older ones; none are named when that is not known."""

    machines: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class AwaitPods:
    """Pods of these machines have another authority."""

    machines: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Add:
    """Make the new one, and trust it, too. With it a rotation begins."""


@dataclass(frozen=True, slots=True)
class Turn:
    """Sign with the new one, and issue everything anew."""


@dataclass(frozen=True, slots=True)
class Drop:
    """Trust the old one no longer."""


@dataclass(frozen=True, slots=True)
class Later:
    """The old one is trusted until what it signed has ended."""


type Step = Deploy | AwaitPods | Add | Turn | Drop | Later


def next_step(seen: Seen) -> Step:
    """``Add`` at rest: whether a rotation begins is up to who asks."""
    if late := tuple(name for name, files in seen.wanted.items() if _late(files, seen.told[name])):
        return Deploy(late)
    if not seen.deployed:
        return Deploy(())
    if seen.pods and (late := tuple(name for name, one in seen.told.items() if set(one.pods) - {seen.pods})):
        return AwaitPods(late)
    match seen.stage:
        case Stage.REST:
            return Add()
        case Stage.ADDED:
            return Turn()
        case Stage.TURNED:
            return Drop() if seen.droppable else Later()


def _late(wanted: Mapping[str, str], told: Told) -> bool:
    files = told.files or {}
    return bool(told.stale) or any(files.get(path) != digest for path, digest in wanted.items())


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def question(machine: Machine, paths: tuple[str, ...]) -> str:
    """A script for a machine, whose answer ``told`` reads: its files, its units' notes, and what its pods have."""
    lines = [
        f"for file in {' '.join(paths)}; do",
        "  test -e $file && echo \"KYBERN file $file $(sha256sum <$file | cut -d' ' -f1)\"",
        "done",
        "for note in /run/kybern/*.sha256; do",
        "  unit=$(basename $note .sha256); conf=/etc/systemd/system/$unit.d/kybern.conf",
        '  test ! -e $conf || grep -q "echo $(cat $note) >" $conf || echo "KYBERN stale $unit"',
        "done",
    ]
    if machine.is_node:
        lines += [
            f"for file in {PODS}/*/volumes/kubernetes.io~projected/kube-api-access-*/ca.crt; do",
            "  test ! -e $file || echo \"KYBERN pod $(sha256sum <$file | cut -d' ' -f1)\"",
            "done",
        ]
    return "\n".join([*lines, "echo KYBERN end"])


def told(text: str) -> Told:
    lines = [line.split(" ")[1:] for line in text.splitlines() if line.startswith("KYBERN ")]
    return Told(
        ["end"] in lines,
        {words[1]: words[2] for words in lines if words[0] == "file" and len(words) == 3},
        tuple(words[1] for words in lines if words[0] == "stale"),
        tuple(sorted({words[1] for words in lines if words[0] == "pod"})),
    )
