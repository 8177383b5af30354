"""Which versions may run beside each other while a cluster is upgraded: pure.

Upstream's policy (kubernetes.io/releases/version-skew-policy): API servers are upgraded first and skip no minor version;
controller manager, scheduler and cloud controller manager may be one minor version older than they, kubelet and kube-proxy
three, and none newer. etcd's members go up one minor version at a time, and never down.
"""

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Self

API = "kube-apiserver"
# How many minor versions older than the API servers each may be.
OLDER = {
    API: 1,
    "kube-controller-manager": 1,
    "kube-scheduler": 1,
    "cloud-controller-manager": 1,
    "kubelet": 3,
    "kube-proxy": 3,
}
NUMBERS = re.compile(r"v?(\d+)\.(\d+)\.(\d+)")


@dataclass(frozen=True, slots=True, order=True)
class Version:
    """What follows the three numbers, such as "-kybern" or Debian's "-4+b1", decides nothing."""

    major: int
    minor: int
    patch: int

    @classmethod
    def read(cls, text: str) -> Self | None:
        """Of "v1.36.2-kybern" or "3.5.16-4"; None of what is no version."""
        found = NUMBERS.match(text)
        return cls(*map(int, found.groups())) if found else None

    @property
    def line(self) -> str:
        return f"{self.major}.{self.minor}"


@dataclass(frozen=True, slots=True)
class Running:
    """A daemon on a machine, and the version that it says."""

    machine: str
    daemon: str
    version: str

    def __str__(self) -> str:
        return f"{self.daemon} of {self.machine} is {self.version}"


def refusals(target: str, running: Iterable[Running], *, allow_downgrade: bool = False) -> tuple[str, ...]:
    """Why these may not be brought to ``target``; all reasons, none when they may."""
    wanted = Version.read(target)
    if wanted is None:
        return (f'the release to install says that it is "{target}", which is no version',)
    return tuple(why for each in running if (why := _refusal(target, wanted, each, allow_downgrade)))


def _refusal(target: str, wanted: Version, each: Running, allow_downgrade: bool) -> str:
    found, older = Version.read(each.version), OLDER[each.daemon]
    if found is None:
        return f'{each.daemon} of {each.machine} says that it is "{each.version}", which is no version'
    if found.major != wanted.major:
        return f"{each}, and {target} is another major version"
    if found.minor > wanted.minor:
        return (
            f"{each}: a minor version is never taken back; deploy v{found.line} or newer, or restore a backup"
        )
    if wanted.minor - found.minor > older:
        step = f"upgrade to v{found.major}.{found.minor + older} first"
        return f"{each}, more than {_minors(older)} behind {target}: {step}"
    if found > wanted and not allow_downgrade:
        return f"{each}, newer than {target}: say --allow-downgrade if that is meant"
    return ""


def etcd_refusals(running: Iterable[Running], candidates: Collection[Running]) -> tuple[str, ...]:
    """Why members of etcd may not be brought from the versions that run to those that the machines' packages offer."""
    now = {each.machine: Version.read(each.version) for each in running}
    found = []
    for each in candidates:
        old, new = now.get(each.machine), Version.read(each.version)
        if new is None:
            found.append(f'apt of {each.machine} offers etcd "{each.version}", which is no version')
        elif old is None:
            found.append(f"the member of {each.machine} does not say which version it is")
        elif new < old:
            found.append(
                f"etcd of {each.machine} would go back from {_shown(old)} to {_shown(new)}: it cannot"
            )
        elif new.major != old.major or new.minor - old.minor > 1:
            found.append(
                f"etcd of {each.machine} would skip minor versions, from {_shown(old)} to {_shown(new)}: "
                f"install {old.major}.{old.minor + 1} on all members first"
            )
    offered = {version.minor for each in candidates if (version := Version.read(each.version))}
    if offered and max(offered) - min(offered) > 1:
        found.append(
            "the machines' packages offer etcd of minor versions that are no neighbours: give them one source"
        )
    return tuple(found)


def _minors(count: int) -> str:
    return "one minor version" if count == 1 else f"{count} minor versions"


def _shown(version: Version) -> str:
    return f"{version.line}.{version.patch}"
