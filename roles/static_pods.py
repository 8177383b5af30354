"""A daemon of the control plane as a static pod of its machine's kubelet, and the operation that brings it to run.

Needs kubelet, pki, kubeconfig, the image. Leaves the manifest in the kubelet's directory, a container that runs by it, and
no unit of the same daemon.

What runs is told by one question. A manifest's uid is made of all that the daemon reads at its start, and containers bear
the uid of their pod: so a pod that runs with something old is known, whoever started it, and a run that died in between is
finished by the next.
"""

from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256

from pyinfra import host
from pyinfra.api import StringCommand, operation

from kybern.machines.changes import Change
from kybern.machines.control_plane import INPUTS, NAMESPACE, RELEASE, aside, manifest, uids
from roles import facts
from roles.cluster import KUBERNETES
from roles.control_plane_image import ControlPlaneImage
from roles.operations import (
    COMMAND_SECONDS,
    FACT_SECONDS,
    LOG_LINES,
    NEW,
    Commands,
    archive,
    halt_after_failure,
    waiting,
)
from roles.record import change, planned, planning, written
from roles.templates import render
from roles.tree import File, Found

# As long as systemd waits for the unit.
STOP_SECONDS = 20
# The kubelet looks at its directory every two seconds, ends the pod before, and makes a sandbox.
START_SECONDS = 120
UNITS = "/etc/systemd/system"
# Of a machine that has no such user yet.
UNKNOWN = facts.PodState((0, 0))
START, REPLACE = "start", "replace"


@dataclass(frozen=True, slots=True)
class StaticPod:
    """What differs from daemon to daemon, and the files whose change makes another pod.

    ``user`` is an account's name: its number is the machine's. ``health`` and ``readiness`` are paths at ``port``.
    ``scratch`` are directories that go with the pod, ``writes`` some of the machine,
    ``sockets`` some in which others listen, who may come later.
    ``inputs`` and ``reads`` are files as a ``Service`` has them, without units.
    """

    name: str
    machine: str
    user: str
    flags: tuple[str, ...]
    port: int
    cpu: str
    health: str = "/healthz"
    readiness: str = ""
    environment: tuple[tuple[str, str], ...] = ()
    scratch: tuple[str, ...] = ("/tmp",)  # noqa: S108  # in the pod, which is alone with it
    writes: tuple[str, ...] = ()
    sockets: tuple[str, ...] = ()
    inputs: tuple[File, ...] = ()
    reads: tuple[File, ...] = ()

    @property
    def unit(self) -> str:
        return f"{self.name}.service"


@dataclass(frozen=True, slots=True)
class Manifest:
    """The finished one, and the uid of the pod that it makes."""

    file: File
    uid: str


def completed(pod: StaticPod, image: ControlPlaneImage, user: int, group: int) -> Manifest:
    """The manifest on a machine where the daemon's user has these numbers. Pure."""
    values = {
        "pod": pod,
        "namespace": NAMESPACE,
        "release_annotation": RELEASE,
        "inputs_annotation": INPUTS,
        "release": image.release.package.target,
        "programs": image.release.programs,
        "image": image.own.image,
        "kubernetes": KUBERNETES,
        "stop_seconds": STOP_SECONDS,
        "user": user,
        "group": group,
    }
    total = sha256(render("daemon/pod.yaml", **values, uid="", inputs=""))
    total.update(f"{pod.machine}\n".encode())
    for file in sorted((*pod.inputs, *pod.reads), key=lambda file: file.path):
        total.update(f"{file.path} {file.mode} {file.owner} {file.digest}\n".encode())
    inputs = total.hexdigest()
    uid = "-".join((inputs[:8], inputs[8:12], inputs[12:16], inputs[16:20], inputs[20:32]))
    text = render("daemon/pod.yaml", **values, uid=uid, inputs=inputs)
    return Manifest(File(manifest(pod.name), text, mode="600"), uid)


def verb(wanted: Manifest, state: facts.PodState, *, restart: bool) -> str:
    """What has to be done: nothing, ``start`` where nothing serves, or ``replace`` what does. Pure."""
    same = state.manifest == wanted.file.digest and not state.unit
    if same and state.running == {wanted.uid}:
        return ""
    # Of a pod that ends again and again nothing runs most of the time: it is mended at once, as a unit is.
    if not state.running and state.unit != facts.ACTIVE:
        return START
    return REPLACE if restart else ""


@operation()
def pods(
    pods: Sequence[StaticPod], image: ControlPlaneImage, restart: bool = True, gate: str = ""
) -> Commands:
    """These pods running, by the manifests that they shall have, and no units in their place.

    ``restart=False`` leaves alone what runs, be it a unit. ``gate`` is a probe that has to succeed after one was replaced;
    together with ``_serial=True`` it makes one machine wait for the one before, which has to have come well.
    """
    names = tuple(pod.name for pod in pods)
    states = host.get_fact(facts.StaticPods, names, tuple(pod.user for pod in pods), _timeout=FACT_SECONDS)
    steps = [
        (pod, state, what)
        for pod, state in ((pod, states.get(pod.name, UNKNOWN)) for pod in pods)
        if (what := verb(completed(pod, image, *state.numbers), state, restart=restart))
    ]
    if not steps:
        host.noop(f"running: {', '.join(names)}")
        return
    standing = tuple(manifest(pod.name) for pod, state, _ in steps if state.manifest)
    shown = planning() and standing
    before = host.get_fact(facts.Contents, standing, _timeout=FACT_SECONDS) if shown else {}
    yield from planned(
        *(_told(pod, image, state, what, before.get(manifest(pod.name), "")) for pod, state, what in steps)
    )
    replaced = any(what == REPLACE for *_, what in steps)
    if replaced:
        yield from halt_after_failure()
    wanted = [(pod, completed(pod, image, *state.numbers), state) for pod, state, _ in steps]
    sent = archive([_staged(each) for _, each, _ in wanted])
    lines = ["set -eu", *(_known(pod) for pod, *_ in steps), "umask 077"]
    lines += ["base64 -d | tar -C / -xpmf - --same-owner --keep-directory-symlink"]
    lines += [line for each in wanted for line in _replacing(*each)]
    lines += [_started(pod, each) for pod, each, _ in wanted]
    if gate and replaced:
        why = _said(" ".join(pod.name for pod, *_ in wanted), "is not ready")
        lines.append(f"{waiting(gate, COMMAND_SECONDS // 2)} || {{ {why}; exit 1; }}")
    yield StringCommand("\n".join(lines), _stdin=sent, _timeout=COMMAND_SECONDS + START_SECONDS)


def _told(pod: StaticPod, image: ControlPlaneImage, state: facts.PodState, what: str, before: str) -> Change:
    """The numbers of a user that is not there yet are in no plan, so in none at all."""
    wanted = completed(pod, image, *UNKNOWN.numbers)
    shown = completed(pod, image, *state.numbers).file
    found = Found("f", shown.mode, shown.user, shown.group, digest=state.manifest) if state.manifest else None
    standing = f"a unit is {state.unit}" if state.unit else " ".join(sorted(state.running)) or "none runs"
    return replace(
        change("pod", pod.name, what, wanted.uid, standing), diff=written(shown, found, before).diff
    )


def _known(pod: StaticPod) -> str:
    return f"id -u {pod.user} >/dev/null 2>&1 || {{ echo 'there is no user {pod.user}' >&2; exit 1; }}"


def _staged(wanted: Manifest) -> File:
    """Beside its place, by a name that the kubelet passes over."""
    folder, _, name = wanted.file.path.rpartition("/")
    return replace(wanted.file, path=f"{folder}/.{name}")


def _replacing(pod: StaticPod, wanted: Manifest, state: facts.PodState) -> Generator[str]:
    if state.unit:
        yield f"systemctl disable --now --quiet {pod.unit} 2>/dev/null || ! systemctl is-active -q {pod.unit}"
        yield f"rm -rf {UNITS}/{pod.unit} {UNITS}/{pod.unit}.d /run/kybern/{pod.unit}.sha256"
        yield "systemctl daemon-reload"
    yield f"mv -fT {_staged(wanted).path}{NEW} {wanted.file.path}"
    yield f"rm -f {aside(pod.name)}"


def _started(pod: StaticPod, wanted: Manifest) -> str:
    running = f'[ "$({uids(pod.name)})" = {wanted.uid} ]'
    why = _said(pod.name, f"does not run as {manifest(pod.name)} has it")
    return f"{waiting(running, START_SECONDS)} || {{ {why}; exit 1; }}"


def _said(names: str, what: str) -> str:
    """Tells what is wrong with the last words of these daemons, and where there may be more."""
    return (
        f"{{ echo 'the pod of {names} {what}: see journalctl -u kubelet, and /var/log/pods'; for name in {names}; do "
        f"ls -t /var/log/pods/{NAMESPACE}_$name-*/*/*.log | head -n 1 | xargs -r tail -n {LOG_LINES}; done; }} >&2"
    )
