"""What a machine is asked, one command for many answers.

A no-op run is nothing but these facts, so each takes one round trip however much it asks, starts as few processes as it
can, and always succeeds: what is not there is simply not in the answer. Lines that are not ours (a login banner) are
passed over; a line of ours that cannot be read fails this machine by name, and not the run.
"""

import base64
import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import unquote

from pyinfra.api import FactBase
from pyinfra.api.exceptions import FactProcessError

from kybern.machines import settled
from kybern.machines.control_plane import aside, manifest, uids
from roles.tree import Found

# A command is one argument of the remote shell, and Linux takes at most 128 KiB of those.
LONGEST = 100_000
ACTIVE = "active"
SUM = re.compile(r"([0-9a-f]{64})  (/.*)")


@dataclass(frozen=True, slots=True)
class UnitState:
    """What systemd says of a unit, the digest noted at its last start, and whether its work is still done.

    ``instead`` is whether a pod does the unit's work, of a time when that was asked for.
    """

    loaded: bool = False
    active: bool = False
    enabled: bool = False
    stale: bool = False
    stamp: str = ""
    alive: bool = True
    instead: bool = False


@dataclass(frozen=True, slots=True)
class PodState:
    """A daemon as a static pod: its user's numbers, the digest of its manifest, and the uids of the pods that run.

    ``unit`` is what systemd says of a unit of the same daemon; nothing where there is none.
    """

    numbers: tuple[int, int]
    manifest: str = ""
    unit: str = ""
    running: frozenset[str] = frozenset()


class Tree(FactBase[dict[str, Found]]):
    """What is at these paths, and anywhere below the pruned directories."""

    default = dict

    def command(self, paths: Iterable[str], prune: Iterable[str] = ()) -> str:
        listed, below = " ".join(paths), " ".join(prune)
        command = "true"
        if listed:
            shown = r"-printf 'KYBERN %y %m %u %g %p %l\n'"
            command = f"find {listed} -maxdepth 0 {shown} 2>/dev/null; sha256sum -- {listed} 2>/dev/null"
        if below:
            command += f"; find {below} -mindepth 1 -printf 'KYBERN %y %m %u %g %p %l\\n' 2>/dev/null"
        if len(command) > LONGEST:
            raise ValueError(f"{len(command)} bytes of paths are too many for one command: split the tree")
        return f"{command}; true"

    def process(self, output: list[str]) -> dict[str, Found]:
        sums = {match[2]: match[1] for line in output if (match := SUM.fullmatch(line))}
        found = {}
        for line in output:
            if line.startswith("KYBERN "):
                path, entry = _found(line, sums)
                found[path] = entry
        return found


class Units(FactBase[dict[str, UnitState]]):
    """The state of these units; ``alive`` has a probe for those whose work may be undone behind their back.

    ``pods`` are static pods by the unit that takes their place.
    """

    default = dict

    def command(
        self, units: Iterable[str], alive: dict[str, str] | None = None, pods: dict[str, str] | None = None
    ) -> str:
        units = list(units)
        shown = "Id,LoadState,ActiveState,UnitFileState,NeedDaemonReload"
        names = " ".join(units)
        lines = [
            f"systemctl show -p {shown} -- {names} 2>/dev/null",
            f'for unit in {names}; do read -r sum </run/kybern/$unit.sha256 && echo "STAMP $unit $sum"; done 2>/dev/null',
        ]
        lines += [f"({probe}) >/dev/null 2>&1 || echo 'DEAD {unit}'" for unit, probe in (alive or {}).items()]
        lines += [
            f"[ ! -e {manifest(pod)} ] && [ ! -e {aside(pod)} ] || echo 'POD {unit}'"
            for unit, pod in (pods or {}).items()
        ]
        return "; ".join([*lines, "true"])

    def process(self, output: list[str]) -> dict[str, UnitState]:
        notes = [line.split() for line in output if line.startswith(("STAMP ", "DEAD ", "POD "))]
        stamps = {note[1]: note[2] for note in notes if note[0] == "STAMP" and len(note) == 3}
        dead = {note[1] for note in notes if note[0] == "DEAD"}
        pods = {note[1] for note in notes if note[0] == "POD"}
        return {
            shown["Id"]: UnitState(
                loaded=shown.get("LoadState") == "loaded",
                active=shown.get("ActiveState") in {"active", "reloading"},
                enabled=shown.get("UnitFileState") in {"enabled", "static", "alias", "generated", "indirect"},
                stale=shown.get("NeedDaemonReload") == "yes",
                stamp=stamps.get(shown["Id"], ""),
                alive=shown["Id"] not in dead,
                instead=shown["Id"] in pods,
            )
            for shown in _blocks(output)
        }


class StaticPods(FactBase[dict[str, PodState]]):
    """The state of daemons as static pods, by name; ``users`` are the accounts that they run as, in the same order."""

    default = dict

    def command(self, names: Sequence[str], users: Sequence[str]) -> str:
        lines = []
        for name, user in zip(names, users, strict=True):
            unit = f"{name}.service"
            lines += [
                f'echo "NUMBERS {name} $(id -u {user}) $(id -g {user})"',
                f'sum=$(sha256sum {manifest(name)} 2>/dev/null) && echo "MANIFEST {name} ${{sum%% *}}"',
                (
                    f"is=$(systemctl is-active {unit}); "
                    f'{{ [ -e /etc/systemd/system/{unit} ] || [ "$is" = {ACTIVE} ]; }} && echo "UNIT {name} $is"'
                ),
                f"{uids(name)} | sed 's/^/RUNNING {name} /'",
            ]
        return "; ".join([*lines, "true"])

    def process(self, output: list[str]) -> dict[str, PodState]:
        told = [line.split() for line in output]
        numbers = {
            line[1]: (int(line[2]), int(line[3]))
            for line in told
            if line[:1] == ["NUMBERS"] and len(line) == 4
        }
        sums = {line[1]: line[2] for line in told if line[:1] == ["MANIFEST"] and len(line) == 3}
        units = {line[1]: line[2] for line in told if line[:1] == ["UNIT"] and len(line) == 3}
        running = [(line[1], line[2]) for line in told if line[:1] == ["RUNNING"] and len(line) == 3]
        return {
            name: PodState(
                numbers=found,
                manifest=sums.get(name, ""),
                unit=units.get(name, ""),
                running=frozenset(uid for of, uid in running if of == name),
            )
            for name, found in numbers.items()
        }


class Images(FactBase[frozenset[str]]):
    """The images among these that containerd has and that bear this label."""

    default = frozenset

    def command(self, names: Sequence[str], label: str) -> str:
        filters = " ".join(shlex.quote(f'name=={name},labels."{label}"') for name in names)
        return f"ctr -n k8s.io images ls -q {filters} 2>/dev/null; true"

    def process(self, output: list[str]) -> frozenset[str]:
        return frozenset(output)


class Succeeds(FactBase[bool]):
    """Whether a command succeeds. It must not change anything."""

    default = bool

    def command(self, probe: str) -> str:
        return f"if ({probe}) >/dev/null 2>&1; then echo KYBERN yes; else echo KYBERN no; fi"

    def process(self, output: list[str]) -> bool:
        return "KYBERN yes" in output


class Answer(FactBase[str]):
    """The one line that a command prints, such as JSON; nothing when it fails or is late. It must not change anything."""

    default = str

    def command(self, question: str) -> str:
        return f'answer=$(timeout 20 {question} 2>/dev/null | tr -d "\\n"); echo "KYBERN $answer"'

    def process(self, output: list[str]) -> str:
        return next((line.removeprefix("KYBERN ") for line in output if line.startswith("KYBERN ")), "")


class OldNames(Answer):
    """Whether pods ask a cache of names that is to go. It may change: the operation that removes it looks again."""


class Interface(FactBase[str]):
    """The network interface that has this address, of either family. It does not change while a machine is in use."""

    default = str

    def command(self, address: str) -> str:
        return f"ip -o address show to {address}; true"

    def process(self, output: list[str]) -> str:
        shown = [line.split() for line in output if " inet" in line]
        return shown[0][1] if shown else ""


class Accounts(FactBase[frozenset[str]]):
    """The users among these names that exist."""

    default = frozenset

    def command(self, names: Iterable[str]) -> str:
        return f"getent passwd {' '.join(names)}; true"

    def process(self, output: list[str]) -> frozenset[str]:
        return frozenset(line.split(":", 1)[0] for line in output if line.count(":") == 6)


class Packages(FactBase[frozenset[str]]):
    """The Debian packages among these names that are installed."""

    default = frozenset

    def command(self, names: Iterable[str]) -> str:
        shown = shlex.quote("KYBERN ${db:Status-Status} ${Package}\\n")
        return f"dpkg-query -W -f={shown} {' '.join(names)} 2>/dev/null; true"

    def process(self, output: list[str]) -> frozenset[str]:
        installed = "KYBERN installed "
        return frozenset(line.removeprefix(installed) for line in output if line.startswith(installed))


class Upgradable(FactBase[frozenset[str]]):
    """The packages that apt would change to bring these to their newest: they themselves, and what they need newer.

    ``apt`` is what a shell does to have ``$apt``; see ``roles.bundled``.
    """

    default = frozenset

    def command(self, names: Iterable[str], apt: str) -> str:
        simulate = f"$apt -s -y install --only-upgrade --no-install-recommends {' '.join(names)}"
        return f"({apt}; {simulate}) 2>/dev/null | sed -n 's/^Inst \\([^ ]*\\) .*/KYBERN \\1/p'; true"

    def process(self, output: list[str]) -> frozenset[str]:
        return frozenset(line.removeprefix("KYBERN ") for line in output if line.startswith("KYBERN "))


class Archives(FactBase[frozenset[str]]):
    """The files of packages, by name, that apt would fetch to install these. ``apt`` as for Upgradable."""

    default = frozenset

    def command(self, names: Iterable[str], apt: str) -> str:
        install = f"$apt -y --no-install-recommends --print-uris install {' '.join(names)}"
        return f"({apt}; {install}) 2>/dev/null | sed -n \"s|^'[^']*/\\([^'/]*\\)' .*|KYBERN \\1|p\"; true"

    def process(self, output: list[str]) -> frozenset[str]:
        return frozenset(
            unquote(line.removeprefix("KYBERN ")) for line in output if line.startswith("KYBERN ")
        )


class Contents(FactBase[dict[str, str]]):
    """The text of these files, for a diff. Never asked for a secret one."""

    default = dict

    def command(self, paths: Iterable[str]) -> str:
        listed = " ".join(paths)
        return f'for path in {listed}; do [ -f $path ] && echo "KYBERN $path $(base64 -w0 $path)"; done; true'

    def process(self, output: list[str]) -> dict[str, str]:
        lines = (line.split(" ") for line in output if line.startswith("KYBERN "))
        return {
            line[1]: base64.b64decode(line[2]).decode(errors="replace") for line in lines if len(line) == 3
        }


def _found(line: str, sums: dict[str, str]) -> tuple[str, Found]:
    # What lies below a pruned directory may have blanks in its name: such a path is ours no more than any other.
    parts = line.split(" ", 5)
    if len(parts) != 6:
        raise FactProcessError(f"find answered {line!r}")
    _, kind, mode, user, group, rest = parts
    path, _, target = rest.partition(" ") if kind == "l" else (rest.removesuffix(" "), "", "")
    return path, Found(kind, mode, user, group, target, sums.get(path, ""))


def _blocks(output: list[str]) -> Iterable[dict[str, str]]:
    """``systemctl show``'s answer: one block of key=value for each unit, parted by an empty line."""
    block: dict[str, str] = {}
    for line in [*output, ""]:
        key, equals, value = line.partition("=")
        if equals and key.isalpha():
            block[key] = value
        elif not line and "Id" in block:
            yield block
            block = {}
    if "Id" in block:
        yield block


@dataclass(frozen=True, slots=True)
class Nature:
    """The version of the machine's own Python, as "3.13", and whether its kernel keeps root from lowering oom_score_adj.

    ``settled`` is what it has of a cluster that was deployed before; see ``kybern.machines.settled``.
    """

    python: str
    restricted: bool = False
    settled: Mapping[str, str] = field(default_factory=dict)


class NatureOfMachine(FactBase[Nature]):
    """Observed, and not taken from the topology: a container may have been brought in as a machine that was there."""

    def command(self) -> str:
        lowers = "(echo -999 >/proc/self/oom_score_adj) 2>/dev/null && echo 'KYBERN free' || echo 'KYBERN restricted'"
        return f"python3 -c 'import sys; print(\"KYBERN %d.%d\" % sys.version_info[:2])' && {{ {lowers}; }}; {settled.ASKED}"

    def process(self, output: list[str]) -> Nature:
        found = [line.removeprefix("KYBERN ") for line in output if line.startswith("KYBERN ")]
        if len(found) != 2:
            raise FactProcessError("the machine's python3 does not answer: install python3")
        return Nature(found[0], found[1] == "restricted", settled.told(output))
