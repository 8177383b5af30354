"""A machine that exists only as facts, and pyinfra running a role on it: no SSH, no files, some milliseconds.

``plan`` says which operations of a role would change the machine, by name. ``apply`` runs them: the fake machine takes
the archives that bundles write and the commands that units run, so that a second ``plan`` shows whether a role comes to
rest. It knows only the commands that our own operations make; anything else is an error of the test.
"""

import base64
import io
import re
import tarfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from types import SimpleNamespace
from typing import Any

import pyinfra
from pyinfra.api import Config, Host, Inventory, State, StringCommand
from pyinfra.api.deploy import add_deploy
from pyinfra.api.operations import run_ops
from pyinfra.api.state import StateStage
from pyinfra.connectors.util import CommandOutput
from pyinfra.context import ctx_host, ctx_state

from kybern.machines.control_plane import manifest
from kybern.machines.topology import Cluster, Machine
from roles import facts
from roles.operations import NEW
from roles.tree import Found

NOTED = re.compile(r"echo (?P<digest>[0-9a-f]{64}) >/run/kybern/")

UPLOADED = re.compile(
    r"echo '(?P<digest>[0-9a-f]{64})  (?P<path>\S+)\.kybern-new' .*\n"
    r"chown (?P<user>\w+):(?P<group>\w+) .*; chmod (?P<mode>\d+) "
)
REFUSAL = re.compile(r"echo '[^']*' >&2; exit 1")


@dataclass
class FakeMachine:
    """What a machine is, as far as our facts can see."""

    name: str = "m1"
    tree: dict[str, Found] = field(default_factory=dict)
    contents: dict[str, bytes] = field(default_factory=dict)
    units: dict[str, facts.UnitState] = field(default_factory=dict)
    packages: set[str] = field(default_factory=set)
    newer: set[str] = field(default_factory=set)  # packages that apt has newer
    users: set[str] = field(default_factory=set)
    pods: dict[str, str] = field(default_factory=dict)  # the uids of those that run, by the daemon's name
    images: set[str] = field(default_factory=set)  # that are there and pinned
    true: set[str] = field(default_factory=set)
    probe: str = ""
    restricted: bool = False  # it may not lower oom_score_adj
    settled: Mapping[str, str] = field(default_factory=dict)  # by an earlier deploy
    questions: int = 0
    asked: set[str] = field(default_factory=set)
    dead: set[str] = field(default_factory=set)
    commands: list[str] = field(default_factory=list)
    fails: Callable[[str], bool] = lambda _command: False
    answers: dict[str, str] = field(default_factory=dict)  # by a part of the question

    def fact(self, cls: type, *arguments: Any, **_globals: Any) -> Any:
        self.probe = ""
        self.questions += 1
        answers: dict[type, Callable[..., Any]] = {
            facts.Tree: self._tree,
            facts.Units: self._units,
            facts.StaticPods: self._pods,
            facts.Images: lambda names, _label: frozenset(self.images & set(names)),
            facts.Succeeds: self._succeeds,
            facts.Accounts: lambda names: frozenset(self.users & set(names)),
            facts.Packages: lambda names: frozenset(self.packages & set(names)),
            facts.Archives: lambda names, _apt: frozenset(f"{name}_1_amd64.deb" for name in names),
            facts.Upgradable: lambda names, _apt: frozenset(self.newer & set(names)),
            facts.Answer: self._answer,
            facts.OldNames: self._answer,
            facts.Interface: lambda _address: "eth0",
            facts.NatureOfMachine: lambda: facts.Nature("3.13", self.restricted, self.settled),
            facts.Contents: lambda paths: {
                path: self.contents[path].decode() for path in paths if path in self.contents
            },
        }
        return answers[cls](*arguments)

    def _answer(self, question: str) -> str:
        return next((self.answers[part] for part in self.answers if part in question), "")

    def run(self, command: StringCommand, stdin: str) -> bool:
        text = command.get_raw_value()
        self.commands.append(text)
        if self.fails(text) or REFUSAL.fullmatch(text):
            return False
        if stdin:
            # One that ends without reading breaks the pipe now and then.
            assert "base64 -d" in text, "the command is sent input and reads none"
            self._unpack(stdin)
        # What a probe asked for is what the command after it brings about.
        self.true |= {self.probe} - {""}
        for sent in UPLOADED.finditer(text):
            self.tree[sent["path"]] = Found(
                "f", sent["mode"], sent["user"], sent["group"], digest=sent["digest"]
            )
        for line in re.split(r"\n|; | && ", text):
            self._step(line.strip("{} "))
        return True

    def _tree(self, paths: Iterable[str], prune: Iterable[str] = ()) -> dict[str, Found]:
        tops = tuple(f"{top}/" for top in prune)
        asked = set(paths)
        return {
            path: found
            for path, found in self.tree.items()
            if path in asked or path.startswith(tops or ("\0",))
        }

    def _units(
        self, names: Iterable[str], _alive: dict[str, str], pods: dict[str, str]
    ) -> dict[str, facts.UnitState]:
        known = {name: self.units.get(name, facts.UnitState()) for name in names}
        return {
            name: replace(
                state, alive=name not in self.dead, instead=manifest(pods.get(name, "-")) in self.tree
            )
            for name, state in known.items()
        }

    def _unit_of(self, name: str) -> str:
        unit = f"{name}.service"
        active = self.units.get(unit, facts.UnitState()).active
        there = f"/etc/systemd/system/{unit}" in self.tree
        return facts.ACTIVE if active else "inactive" if there else ""

    def _pods(self, names: Sequence[str], users: Sequence[str]) -> dict[str, facts.PodState]:
        there = {path: found.digest for path, found in self.tree.items()}
        return {
            name: facts.PodState(
                (900, 901),
                there.get(manifest(name), ""),
                self._unit_of(name),
                frozenset({self.pods[name]} if name in self.pods else ()),
            )
            for name, user in zip(names, users, strict=True)
            if user in self.users
        }

    def _succeeds(self, probe: str) -> bool:
        self.asked.add(probe)
        self.probe = probe
        return probe in self.true

    def _unpack(self, stdin: str) -> None:
        with tarfile.open(fileobj=io.BytesIO(base64.b64decode(stdin))) as archive:
            for member in archive:
                path = "/" + member.name.removesuffix(NEW)
                kind = "d" if member.isdir() else "l" if member.issym() else "f"
                stream = archive.extractfile(member) if kind == "f" else None
                content = stream.read() if stream else b""
                self.contents[path] = content
                self.tree[path] = Found(
                    kind,
                    f"{member.mode:o}",
                    member.uname,
                    member.gname,
                    member.linkname,
                    _digest(content, kind),
                )

    def _step(self, line: str) -> None:
        words = line.split()
        match words[:2]:
            case ["systemctl", "enable"]:
                for unit in words[3:]:
                    self._unit(unit, enabled=True)
            case ["systemctl", "start" | "restart" | "--no-block"]:
                unit = next(word for word in words if word.endswith((".service", ".timer")))
                self.dead.discard(unit)
                self._unit(unit, active=True, loaded=True, stamp=self._noted(unit))
            case ["useradd", _]:
                self.users.add(words[-1])
            case ["rm", "-rf"]:
                self._remove([word.strip("'") for word in words[2:]])
            case _:
                self._step_of_pods(line, words)

    def _remove(self, paths: Sequence[str]) -> None:
        below = tuple(f"{path}/" for path in paths)
        self.tree = {
            path: found
            for path, found in self.tree.items()
            if path not in paths and not path.startswith(below)
        }

    def _step_of_pods(self, line: str, words: list[str]) -> None:
        match words[:2]:
            case ["systemctl", "disable"]:
                self._unit(words[4], active=False, enabled=False)
            case ["mv", "-fT"] if (staged := words[2].removesuffix(NEW)) in self.tree and staged != words[3]:
                self._manifest(staged, words[3])
            case ["mv", "-f"]:
                self.tree.pop(words[2], None)
                self.pods.pop(PurePosixPath(words[2]).stem, None)
            case ["timeout", _] if "images label" in line:
                self.images.add(words[7])

    def _manifest(self, staged: str, path: str) -> None:
        """The kubelet runs what it is given."""
        self.tree[path], self.contents[path] = self.tree.pop(staged), self.contents.pop(staged)
        text = self.contents[path].decode()
        self.pods[PurePosixPath(path).stem] = text.partition("  uid: ")[2].partition("\n")[0]

    def _unit(self, name: str, **changes: Any) -> None:
        state = self.units.get(name, facts.UnitState())
        fields = {slot: getattr(state, slot) for slot in state.__slots__}
        self.units[name] = facts.UnitState(**{**fields, **changes})

    def _noted(self, unit: str) -> str:
        text = self.contents.get(f"/etc/systemd/system/{unit}.d/kybern.conf", b"").decode()
        noted = NOTED.search(text)
        return noted["digest"] if noted else ""


def _digest(content: bytes, kind: str) -> str:
    from hashlib import sha256

    return sha256(content).hexdigest() if kind == "f" else ""


class Run:
    """One run of a role on fake machines, in pyinfra's own machinery."""

    def __init__(self, machines: Sequence[FakeMachine], data: Sequence[dict[str, Any]] = ()) -> None:
        names = [machine.name for machine in machines]
        hosts = [*zip(names, data, strict=True)] if data else names
        self.state = State(Inventory((hosts, {})), Config(FAIL_PERCENT=0))
        self.hosts: list[Host] = [self.state.inventory.get_host(name) for name in names]
        for host, machine in zip(self.hosts, machines, strict=True):
            replaced: Any = host
            replaced.connected = True
            replaced.get_fact = machine.fact
            replaced.connector = SimpleNamespace(run_shell_command=_shell(machine), put_file=_upload(machine))
            self.state.activate_host(host)
        self.state.current_stage = StateStage.Prepare

    def prepare(self, role: Callable[..., Any], cluster: Cluster, members: Sequence[Machine | None]) -> None:
        for host, machine in zip(self.hosts, members, strict=True):
            arguments = () if machine is None else (cluster, machine)
            add_deploy(self.state, role, *arguments, host=host)

    def changing(self, host: Host) -> list[str]:
        """The names of the operations that would change this host, in order."""
        return [
            next(iter(self.state.op_meta[op].names))
            for op in self.state.get_op_order()
            if op in self.state.ops[host] and self.state.ops[host][op].operation_meta.will_change
        ]

    def execute(self) -> None:
        self.state.current_stage = StateStage.Execute
        run_ops(self.state)

    def changed(self) -> list[str]:
        return [
            next(iter(self.state.op_meta[op].names))
            for op in self.state.get_op_order()
            if any(
                self.state.ops[host][op].operation_meta.did_change()
                for host in self.hosts
                if op in self.state.ops[host]
            )
        ]


def plan(
    role: Callable[..., Any], cluster: Cluster, machine: Machine, fake: FakeMachine | None = None
) -> list[str]:
    run = Run([fake or FakeMachine(machine.name)])
    run.prepare(role, cluster, [machine])
    return run.changing(run.hosts[0])


def apply(role: Callable[..., Any], cluster: Cluster, machine: Machine, fake: FakeMachine) -> list[str]:
    """Run a role, and say which of its operations did something."""
    run = Run([fake])
    run.prepare(role, cluster, [machine])
    run.execute()
    return run.changed()


def deploy(
    cluster: Cluster,
    fakes: Sequence[FakeMachine],
    file: str = "deploys/cluster.py",
    members: Sequence[Machine] = (),
) -> dict[str, list[str]]:
    """Run a deploy file on all machines of a cluster, or on ``members``; what changed, by operation."""
    run = prepared(cluster, fakes, file, members, dry=False)
    run.execute()
    changes: dict[str, list[str]] = {}
    for op in run.state.get_op_order():
        changed = [host.name for host in run.hosts if op in run.state.ops[host] and _changed(run, host, op)]
        if changed:
            changes[next(iter(run.state.op_meta[op].names))] = changed
    return changes


def prepared(
    cluster: Cluster,
    fakes: Sequence[FakeMachine],
    file: str = "deploys/cluster.py",
    members: Sequence[Machine] = (),
    *,
    dry: bool = True,
) -> Run:
    """A deploy file read on all machines, as far as a dry run goes; or, not dry, up to its first operation."""
    run = Run(fakes, [{"cluster": cluster, "machine": machine} for machine in members or cluster.machines])
    # As its command line does it: an operation is known by the lines it was called from.
    run.state.current_deploy_filename = file
    run.state.check_for_changes = dry
    code = compile(Path(file).read_text(), file, "exec")
    pyinfra.is_cli = True
    try:
        for host in run.hosts:
            with ctx_state.use(run.state), ctx_host.use(host):
                # runpy's frames have no source, which pyinfra would look for at each operation, for long.
                exec(code, {"__name__": "__main__"})
    finally:
        pyinfra.is_cli = False
    return run


def _changed(run: Run, host: Host, op: str) -> bool:
    return bool(run.state.ops[host][op].operation_meta.did_change())


def _shell(machine: FakeMachine) -> Callable[..., tuple[bool, CommandOutput]]:
    def run(command: StringCommand, **arguments: Any) -> tuple[bool, CommandOutput]:
        return machine.run(command, arguments.get("_stdin") or ""), CommandOutput([])

    return run


def _upload(machine: FakeMachine) -> Callable[..., bool]:
    def put(_source: Any, target: str, **_arguments: Any) -> bool:
        machine.commands.append(f"upload {target}")
        return True

    return put
