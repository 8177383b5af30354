"""Our daemons on the machine, and a link to the release that is in use.

Needs system. Leaves /opt/kybern/package-DIGEST and /opt/kybern/dependencies-DIGEST, complete or not at all, and
/opt/kybern/current. What is there is not sent again. Units name the release by its digest, so that a new one restarts them.
Releases that are not in use any more go away.
"""

from collections.abc import Generator

from pyinfra import host
from pyinfra.api import FileUploadCommand, StringCommand, deploy, operation

from roles.facts import PythonVersion, Succeeds
from roles.operations import COMMAND_SECONDS, FACT_SECONDS, bundle
from roles.record import change, digest, planned
from roles.release import TARGET, Archive, Release, release
from roles.tree import Directory, Link


@deploy("package")
def package() -> None:
    found = here()
    bundle(name="Place", files=[Directory(TARGET)])
    unpacked(name="Dependencies", archive=found.dependencies)
    unpacked(name="Daemons", archive=found.package)
    bundle(name="In use", files=[Link(f"{TARGET}/current", found.package.target)])
    pruned(name="Old releases removed", kept=found)


def here() -> Release:
    """The release for this machine's Python, which is asked for once: every daemon's role wants to know."""
    known = host.connector_data
    if "kybern_python" not in known:
        known["kybern_python"] = host.get_fact(PythonVersion, _timeout=FACT_SECONDS)
    return release(known["kybern_python"])


@operation()
def unpacked(archive: Archive) -> Generator[StringCommand | FileUploadCommand]:
    """The archive's directory, complete: it is unpacked beside its place and then moved there."""
    if host.get_fact(Succeeds, f"test -d {archive.target}", _timeout=FACT_SECONDS):
        host.noop(f"{archive.target} is there")
        return
    yield from planned(change("release", archive.target, "unpack"))
    staged, beside = f"/var/tmp/{archive.source.name}", f"{archive.target}.new"  # noqa: S108  # checked by its digest below
    yield FileUploadCommand(str(archive.source), staged, _sudo=False)
    script = (
        f"set -eu; trap 'rm -rf {beside} {staged}' EXIT; rm -rf {beside}; mkdir -p {beside}; "
        f"tar -C {beside} -xzf {staged} --no-same-owner; sync -f {beside}; mv -T {beside} {archive.target}"
    )
    yield StringCommand(script, _timeout=COMMAND_SECONDS)


@operation()
def pruned(kept: Release) -> Generator[StringCommand]:
    """No directory of ours below /opt/kybern but those in use."""
    names = " ".join(f"! -path {archive.target}" for archive in (kept.dependencies, kept.package))
    old = f"find {TARGET} -mindepth 1 -maxdepth 1 -type d {names}"
    if not host.get_fact(Succeeds, f"{old} | grep -q .", _timeout=FACT_SECONDS):
        host.noop("there is no old release")
        return
    yield from planned(change("release", "old ones", "remove", digest(names)))
    yield StringCommand(f"{old} -exec rm -rf {{}} +", _timeout=COMMAND_SECONDS)
