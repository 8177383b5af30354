"""Our own idempotent operations: few, each one round trip to find nothing to do.

``bundle`` ships all files of a role, ``units`` brings services to run with them, ``ready`` waits for what they serve.
They decide from facts read while executing, so that ``--dry``, ``-y`` and an interrupted run all see what is there.
What a bundle writes travels on the command's standard input: not on the command line, where ``ps`` shows it, and not
through a file in ``/tmp``. It works as root and with ``_sudo``.

Every remote command has a time limit.
"""

import base64
import io
import tarfile
from collections.abc import Generator, Iterable, Mapping, Sequence
from difflib import unified_diff
from pathlib import PurePosixPath

from pyinfra import host, logger
from pyinfra.api import FileUploadCommand, StringCommand, operation

from kybern.machines.changes import Change
from kybern.machines.control_plane import aside, stopping
from roles import facts
from roles.bundled import PLACE, Repository, apt
from roles.record import change, digest, finished, inputs_of, planned, planning, showable, written
from roles.tree import Directory, Entry, File, Found, Link, Service, Upload, missing, surplus, unique

FACT_SECONDS = (
    90  # an emulated machine takes its time; one that died is noticed by its connection before that
)
COMMAND_SECONDS = 300
NEW = ".kybern-new"
LOG_LINES = 15
REPLACE = "replace"  # a pod by its unit
NO_UNITS: Mapping[str, Sequence[str]] = {}

type Commands = Generator[StringCommand | FileUploadCommand]


@operation()
def bundle(files: Iterable[Entry], absent: Sequence[str] = (), prune: Sequence[str] = ()) -> Commands:
    """Files, directories and links as listed; nothing at ``absent``; below ``prune`` nothing that is not listed.

    Each file is replaced atomically and by itself. A full disk or a lost connection leaves old or new files, never half
    ones. Directories that are not listed are made as they are needed, and are never removed.
    """
    wanted = unique(files)
    if finished(inputs_of(wanted, *absent, *prune)):
        host.noop("the run that is resumed has done it")
        return
    paths = (*(entry.path for entry in wanted), *absent)
    found = host.get_fact(facts.Tree, paths, tuple(prune), _timeout=FACT_SECONDS)
    writes, removals = missing(wanted, found), surplus(wanted, absent, prune, found)
    if not writes and not removals:
        host.noop(f"{len(wanted)} paths are as they should be")
        return
    if host.state.config.DIFF:
        _show(writes, removals)
    yield from planned(*_changes(writes, removals, found))
    yield from _writing(writes, removals)


def _writing(writes: Sequence[Entry], removals: Sequence[str]) -> Commands:
    for entry in writes:
        if isinstance(entry, Upload):
            # Straight from the disk and beside its place, as the SSH user: it may be a hundred megabytes.
            yield FileUploadCommand(str(entry.source), _staged(entry), _sudo=False)
    # A script that only removes reads no input: sending it some may find it gone.
    sent = archive(writes) if writes else ""
    yield StringCommand(_write(writes, removals), _stdin=sent, _timeout=COMMAND_SECONDS)


@operation()
def units(services: Sequence[Service], restart: bool = True, guard: str = "", gate: str = "") -> Commands:
    """These units enabled, running, and started with what is on the machine now.

    ``restart=False`` leaves running units alone. ``guard`` is a probe that has to succeed before a restart is risked,
    ``gate`` one that has to succeed after it; together with ``_serial=True`` they make one machine wait for the one
    before. A machine is not touched once another one has failed, which ``_serial`` by itself does not see to.
    """
    alive = {service.unit: service.alive for service in services if service.alive}
    names = tuple(service.unit for service in services)
    pods = {service.unit: service.pod for service in services if service.pod}
    states = host.get_fact(facts.Units, names, alive, pods, _timeout=FACT_SECONDS)
    unknown = facts.UnitState()
    verbs = [(service, _verb(service, states.get(service.unit, unknown), restart)) for service in services]
    # One that waits for its turn in the place of a pod must not start beside it after a boot.
    waits = {
        service.unit for service, verb in verbs if not verb and states.get(service.unit, unknown).instead
    }
    enable = [
        service.unit
        for service in services
        if service.unit not in waits and not states.get(service.unit, unknown).enabled
    ]
    changes = [(service, verb) for service, verb in verbs if verb]
    if not changes and not enable:
        host.noop(f"running: {', '.join(names)}")
        return
    yield from planned(
        *(change("unit", unit, "enable") for unit in enable if unit not in {one.unit for one, _ in changes}),
        *(
            change("unit", service.unit, verb, service.digest, _standing(states.get(service.unit, unknown)))
            for service, verb in changes
        ),
    )
    restarts = any(verb in ("restart", REPLACE) for _, verb in changes)
    if restarts:
        yield from halt_after_failure()
    # Enabling reads the units again by itself.
    steps = [f"systemctl enable --quiet {' '.join(enable)}" if enable else "systemctl daemon-reload"]
    if guard and restarts:
        steps.insert(
            0,
            f"{{ {_quiet(guard)} || {{ echo 'not restarted, because this fails: {_shown(guard)}' >&2; exit 1; }}; }}",
        )
    steps += [stopping(service.pod) for service, verb in changes if verb == REPLACE]
    steps += [_started(service, verb) for service, verb in changes]
    steps += [f"rm -f {aside(service.pod)}" for service, verb in changes if verb == REPLACE]
    if gate and restarts:
        steps.append(waiting(gate, COMMAND_SECONDS // 2))
    yield StringCommand(" && ".join(steps), _timeout=COMMAND_SECONDS)


@operation()
def ready(probe: str, log: str = "", seconds: int = 30) -> Commands:
    """Wait until ``probe`` succeeds. Nothing is executed when it does at once.

    One attempt polls for ``seconds``; call it with ``_retries`` for as long as it may take. ``log`` is the unit whose
    last lines tell why it did not.
    """
    if host.get_fact(facts.Succeeds, probe, _timeout=FACT_SECONDS):
        host.noop("it is ready")
        return
    yield from planned(change("wait", log or probe, "wait"))
    tell = f"; journalctl --no-pager -o cat -n {LOG_LINES} -u {log} >&2" if log else ""
    until = f"{waiting(probe, seconds)} || {{ echo 'not ready: {_shown(probe)}' >&2{tell}; exit 1; }}"
    yield StringCommand(until, _timeout=seconds + FACT_SECONDS)


@operation()
def accounts(users: Sequence[str]) -> Commands:
    """System users, each with a group of its name, no home and no shell."""
    known = host.get_fact(facts.Accounts, users, _timeout=FACT_SECONDS)
    wanted = [user for user in users if user not in known]
    if not wanted:
        host.noop(f"users exist: {', '.join(users)}")
        return
    yield from planned(*(change("user", user, "add") for user in wanted))
    add = "useradd --system --user-group --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin"
    yield StringCommand(" && ".join(f"{add} {user}" for user in wanted), _timeout=COMMAND_SECONDS)


@operation()
def packages(
    names: Sequence[str],
    newest: bool = False,
    units: Mapping[str, Sequence[str]] = NO_UNITS,
    repository: Repository | None = None,
) -> Commands:
    """Debian packages. Our images have them; other machines get them by apt, which does not start their services.

    ``newest`` asks apt for newer ones, by the lists that the machine has. ``units`` are those that run a package's program:
    what they were started with is forgotten before it changes, so that their role restarts them in its own order.
    ``repository`` is a bundle's, which takes the place of the machine's own sources: its index is on the machine already.
    """
    asking = apt(offline=repository is not None)
    installed = host.get_fact(facts.Packages, names, _timeout=FACT_SECONDS)
    wanted = [name for name in names if name not in installed]
    newer = (
        host.get_fact(facts.Upgradable, names, asking, _timeout=FACT_SECONDS) if newest else frozenset[str]()
    )
    wanted += sorted(newer - set(wanted))
    if not wanted:
        host.noop("packages are installed")
        return
    yield from planned(*(change("package", name, "install") for name in wanted))
    if repository is not None and host.state.is_executing:
        named = host.get_fact(facts.Archives, wanted, asking, _timeout=FACT_SECONDS)
        lacking = repository.archives(named)
        found = host.get_fact(facts.Tree, tuple(one.path for one in lacking), (), _timeout=FACT_SECONDS)
        yield from _writing(missing(lacking, found), ())
    stale = [f"/run/kybern/{unit}.sha256" for name in sorted(newer) for unit in units.get(name, ())]
    yield StringCommand(_installing(wanted, stale, asking, offline=repository is not None), _timeout=1800)


def _installing(wanted: Sequence[str], stale: Sequence[str], asking: str, *, offline: bool) -> str:
    # A service that apt starts before its configuration is there takes a port, or makes a cluster of its own.
    guard = "/usr/sbin/policy-rc.d"
    keep = "-o Dpkg::Options::=--force-confdef -o Dpkg::Options::=--force-confold"
    install = f"$apt install -y --no-install-recommends {keep} {' '.join(wanted)}"
    steps = [
        f"{{ {asking}; }}",
        f"trap 'rm -rf {guard}{' $lists' if offline else ''}' EXIT",
        f"printf '#!/bin/sh\\nexit 101\\n' >{guard} && chmod 755 {guard}",
        "export DEBIAN_FRONTEND=noninteractive",
        *([f"rm -f {' '.join(stale)}"] if stale else []),
        install if offline else f"{{ {install} || {{ $apt update && {install}; }}; }}",
        # What was sent for one that failed is there for the next.
        *([f"find {PLACE} -name '*.deb' -delete"] if offline else []),
    ]
    return " && ".join(steps)


@operation()
def once(probe: str, command: str, seconds: int = COMMAND_SECONDS) -> Commands:
    """Run ``command`` unless ``probe`` succeeds. For the few things that are neither files nor units."""
    if host.get_fact(facts.Succeeds, probe, _timeout=FACT_SECONDS):
        host.noop("it is done already")
        return
    yield from planned(change("command", "", "run", digest(command)))
    yield StringCommand(command, _timeout=seconds)


def _verb(service: Service, state: facts.UnitState, restart: bool) -> str:
    if state.instead:
        return REPLACE if restart else ""
    if not state.active:
        return "start"
    if restart and (state.stamp != service.digest or not state.alive):
        return "restart"
    return ""


def _standing(state: facts.UnitState) -> str:
    return (
        f"{'active' if state.active else 'inactive'} {state.stamp} {'' if state.alive else 'undone'}".strip()
    )


def _started(service: Service, verb: str) -> str:
    # A restart is always waited for: a gate behind it would else find the old process in good health.
    block = "--no-block " if verb == "start" and not service.wait else ""
    verb = "restart" if verb == REPLACE else verb
    # A unit that systemd gave up on is started all the same.
    reset = f"systemctl reset-failed {service.unit} 2>/dev/null; "
    tell = f"journalctl --no-pager -o cat -n {LOG_LINES} -u {service.unit} >&2"
    return f"{{ {reset}systemctl {block}{verb} {service.unit} || {{ {tell}; exit 1; }}; }}"


def halt_after_failure() -> Commands:
    """A failure of this machine, too, when another one has failed: nothing that serves is risked any more."""
    failed = [other.name for other in host.inventory if host.state.results[other].error_ops]
    if failed:
        yield StringCommand(
            f"echo 'not restarted, because {' '.join(failed)} failed' >&2; exit 1", _timeout=FACT_SECONDS
        )


def waiting(probe: str, seconds: int) -> str:
    """A shell's command that ends when ``probe`` succeeds, or fails after ``seconds``."""
    # By the clock and not by counting: a probe that hangs takes its own time.
    return (
        f"( end=$(($(date +%s) + {seconds})); until {_quiet(probe)}; "
        'do [ "$(date +%s)" -lt "$end" ] || exit 1; sleep 0.2; done )'
    )


def _quiet(probe: str) -> str:
    return f"({probe}) >/dev/null 2>&1"


def _shown(text: str) -> str:
    return text.replace("'", '"')


def _write(writes: Sequence[Entry], removals: Sequence[str]) -> str:
    """The script that takes the archive. Nothing it names needs quoting: see ``roles.tree``."""
    placed = [entry for entry in writes if not isinstance(entry, Directory)]
    owners = sorted({entry.user for entry in writes} - {"root"})
    listed = {entry.path for entry in writes}
    parents = sorted({str(PurePosixPath(entry.path).parent) for entry in writes} - listed - {"/"})
    steps = ["set -eu"]
    steps += [
        f"id -u {user} >/dev/null 2>&1 || {{ echo 'there is no user {user}' >&2; exit 1; }}"
        for user in owners
    ]
    if placed:
        steps.append(f"trap 'rm -f {' '.join(entry.path + NEW for entry in placed)}' EXIT")
    if parents:
        steps.append(f"umask 022; mkdir -p {' '.join(parents)}")
    steps.append("umask 077")
    if writes:
        # The time of a file is now: systemd sees by it that a unit has changed.
        steps.append("base64 -d | tar -C / -xpmf - --same-owner --keep-directory-symlink")
    for entry in writes:
        if isinstance(entry, Upload):
            # /var/tmp is everybody's: what counts is what arrived.
            steps.append(f"cp {_staged(entry)} {entry.path}{NEW}; rm -f {_staged(entry)}")
            steps.append(f"echo '{entry.digest}  {entry.path}{NEW}' | sha256sum --quiet -c -")
            steps.append(f"chown {entry.owner} {entry.path}{NEW}; chmod {entry.mode} {entry.path}{NEW}")
    steps += [f"mv -fT {entry.path}{NEW} {entry.path}" for entry in placed]
    if removals:
        steps.append(f"rm -rf -- {' '.join(_quoted_path(path) for path in removals)}")
    return "\n".join(steps)


def _quoted_path(path: str) -> str:
    return "'" + path.replace("'", "'\\''") + "'"


def _staged(entry: Upload) -> str:
    return f"/var/tmp/kybern-{entry.digest[:16]}"  # noqa: S108  # not secret, and its digest is what is looked for


def archive(writes: Sequence[Entry]) -> str:
    """The entries as a tar in base64. Directories keep their names, the others stand beside their places."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for entry in writes:
            if not isinstance(entry, Upload):
                member = _member(entry)
                archive.addfile(member, io.BytesIO(entry.content) if isinstance(entry, File) else None)
    return base64.b64encode(stream.getvalue()).decode()


def _member(entry: Entry) -> tarfile.TarInfo:
    member = tarfile.TarInfo(entry.path.lstrip("/"))
    member.mode, member.uname, member.gname = int(entry.mode, 8), entry.user, entry.group
    match entry:
        case Directory():
            member.type = tarfile.DIRTYPE
        case Link():
            member.name, member.type, member.linkname = member.name + NEW, tarfile.SYMTYPE, entry.target
        case File():
            member.name, member.size = member.name + NEW, len(entry.content)
    return member


def _changes(
    writes: Sequence[Entry], removals: Sequence[str], found: Mapping[str, Found]
) -> Generator[Change]:
    """What a plan says of a tree. Texts are asked for only when somebody wants to see what differs."""
    shown = tuple(
        entry.path for entry in writes if entry.path in found and showable(entry, found[entry.path])
    )
    before = host.get_fact(facts.Contents, shown, _timeout=FACT_SECONDS) if shown and planning() else {}
    for entry in writes:
        yield written(entry, found.get(entry.path), before.get(entry.path, ""))
    for path in removals:
        yield change("file", path, "remove", before=found[path].digest)


def _show(writes: Sequence[Entry], removals: Sequence[str]) -> None:
    """What ``--diff`` shows: lines of text files, and only the names of secret and of big ones."""
    shown = [entry for entry in writes if isinstance(entry, File) and not entry.secret]
    paths = tuple(entry.path for entry in shown)
    before = host.get_fact(facts.Contents, paths, _timeout=FACT_SECONDS) if paths else {}
    for entry in writes:
        if isinstance(entry, File) and not entry.secret:
            old, new = before.get(entry.path, ""), entry.content.decode(errors="replace")
            for line in unified_diff(
                old.splitlines(), new.splitlines(), entry.path, entry.path, n=2, lineterm=""
            ):
                logger.info("  %s", line)
        else:
            logger.info(
                "  %s: %s",
                entry.path,
                "secret, not shown" if isinstance(entry, File) else type(entry).__name__,
            )
    for path in removals:
        logger.info("  %s: removed", path)
