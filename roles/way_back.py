"""The release that a machine ran before stays on it, with the files that went with it: the way back of an upgrade.

A release is more than its programs. Units and configuration are written for them: flags that the one knows are errors to
the other. So before another release is taken into use, the files that depend on it are kept, in
``/opt/kybern/before-DIGEST.tar`` with the digest of the release that they belong to. With its directories that is all it
takes to go back, and nothing has to be sent.

What the topology says and no release (names, firewall, certificates, kubeconfigs) stays as it is, and so do Debian's
packages, the data of etcd and the objects of the API.
"""

from collections.abc import Generator

from pyinfra import host
from pyinfra.api import StringCommand, deploy, operation

from kybern.machines.control_plane import DAEMONS, MANIFESTS, manifest, stopping, uids
from roles import facts, reset, system
from roles.firewall import UNIT as FIREWALL
from roles.operations import COMMAND_SECONDS, FACT_SECONDS, once
from roles.record import change, digest, planned
from roles.release import TARGET, Release
from roles.second_family import UNIT as SECOND_FAMILY
from roles.templates import render

UNITS = "/etc/systemd/system"
# These are the topology's, and older than any release on the machine.
OF_THE_TOPOLOGY = (system.MACHINE, FIREWALL, SECOND_FAMILY)
# What a unit stands on comes before it: the other way round than they are stopped.
ORDER = tuple(unit for unit in reversed((*reset.ABOVE, *reset.BELOW)) if unit not in OF_THE_TOPOLOGY)
WAITED = ("etcd.service", "containerd.service", "kube-apiserver.service")
RESTART_SECONDS = 120
CONFIGURATION = (
    "/etc/containerd/config.toml",
    "/etc/haproxy/haproxy.cfg",
    "/etc/keepalived/keepalived.conf",
    "/etc/keepalived/ready",
    "/etc/kubernetes/audit-policy.yaml",
    *map(manifest, DAEMONS),
    "/etc/kybern/dns.yaml",
    "/etc/kybern/node-dns.yaml",
    "/etc/kybern/snapshot",
    "/var/lib/kubelet/config.yaml",
)
PATHS = (*(f"{UNITS}/{unit}{part}" for unit in ORDER for part in ("", ".d/kybern.conf")), *CONFIGURATION)
# Of the units that run, and of the manifests of pods that run in the place of some.
NAMED = f"grep -oshE '{TARGET}/package-[0-9a-z]+' {UNITS}/*.service {' '.join(map(manifest, DAEMONS))}"
# The newest that is kept; a machine that is back on it already has gone the whole way.
NEWEST = f"ls -t {TARGET}/before-*.tar 2>/dev/null | head -n 1 | xargs -r basename"


@operation()
def kept(release: Release) -> Generator[StringCommand]:
    """What goes with the release in use, before another one is; not of a machine that is between two already."""
    now = f"now=$(readlink {TARGET}/current)"
    other = f'[ "$now" != {release.package.target} ] && [ -x "$now/bin/kubelet" ]'
    whole = f'[ "$({NAMED} | sort -u)" = "$now" ]'
    if not host.get_fact(facts.Succeeds, f"{now} && {other} && {whole}", _timeout=FACT_SECONDS):
        host.noop("no release is replaced")
        return
    yield from planned(change("release", "way back", "keep", digest(release.package.target)))
    yield StringCommand(
        render("release/kept.sh", target=TARGET, paths=PATHS).decode(), _timeout=COMMAND_SECONDS
    )


@deploy("way back")
def back() -> None:
    """The machine is on the release that it ran before."""
    once(name="Release before", probe=is_back(), command=script())


def script() -> str:
    text = render(
        "release/back.sh",
        target=TARGET,
        newest=NEWEST,
        order=ORDER,
        units=UNITS,
        waited=WAITED,
        seconds=RESTART_SECONDS,
        pods=DAEMONS,
        manifests=MANIFESTS,
        uids={name: uids(name) for name in DAEMONS},
        stopping={name: stopping(name) for name in DAEMONS},
    )
    return text.decode()


def is_back() -> str:
    """All units name the release that is kept, and have been started with what is there."""
    now = f'now=$(readlink {TARGET}/current) && [ "$({NEWEST})" = "before-${{now##*/package-}}.tar" ]'
    whole = f'[ "$({NAMED} | sort -u)" = "$now" ]'
    started = (
        f"for conf in {UNITS}/*.service.d/kybern.conf; do "
        r"""note=$(sed -nE "s/.*echo ([0-9a-f]{64}) >(.*)'/\1 \2/p" $conf); """
        '[ "$(cat "${note#* }")" = "${note% *}" ] || exit 1; done'
    )
    running = " && ".join(
        f"{{ [ ! -e {manifest(name)} ] || {runs_as_its_manifest(name)}; }}" for name in DAEMONS
    )
    return f"{now} && {whole} && {started} && {running}"


def runs_as_its_manifest(name: str) -> str:
    return f'[ "$({uids(name)})" = "$(sed -n \'s/^  uid: //p\' {manifest(name)})" ]'
