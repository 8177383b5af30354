"""What of a machine image some programs need: the files of their packages, and of those that these stand on. Pure.

By dpkg's own records, which are in the image: ``/var/lib/dpkg/status`` and a list of files for each package. What only
installs and configures packages is left out, since nothing is installed any more.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from kybern.machines.errors import MachineError

INSTALLERS = frozenset({"dpkg", "debconf", "debconf-2.0", "perl-base"})
# Documents, and what only a package's scripts, menus and checks read.
NEEDLESS = re.compile(
    r"/usr/share/(doc|man|info|locale|lintian|bug|bash-completion|menu|pixmaps|binfmts)(/|$)"
)


@dataclass(frozen=True, slots=True)
class Package:
    """An installed package. ``needs`` has, for each dependency, the names that each satisfy it."""

    name: str
    version: str
    architecture: str
    shared: bool  # several architectures of it may be installed, and its list of files bears its own
    provides: frozenset[str]
    needs: tuple[tuple[str, ...], ...]

    @property
    def listed(self) -> str:
        """The name of its list of files below /var/lib/dpkg/info."""
        return f"{self.name}:{self.architecture}.list" if self.shared else f"{self.name}.list"


def packages(status: str) -> Mapping[str, Package]:
    """The installed packages by name, of dpkg's ``status``."""
    found = (_package(_fields(block)) for block in status.split("\n\n") if block.strip())
    return {one.name: one for one in found if one is not None}


def closure(known: Mapping[str, Package], wanted: Iterable[str]) -> tuple[Package, ...]:
    """These packages and all that they depend on, by name, without installers. Raises MachineError for a missing one."""
    providers = {name: one for one in known.values() for name in one.provides} | dict(known)
    found: dict[str, Package] = {}
    due: list[tuple[str, ...]] = [(name,) for name in wanted]
    while due:
        names = due.pop()
        one = next((providers[name] for name in names if name in providers), None)
        if one is None:
            raise MachineError(
                f"the machine image has no package {' or '.join(names)}, which the control plane's image stands on: "
                "remove the machine image's directory, so that it is made again"
            )
        if one.name not in found and one.name not in INSTALLERS:
            found[one.name] = one
            due += one.needs
    return tuple(sorted(found.values(), key=lambda each: each.name))


def paths(lists: Iterable[str]) -> tuple[str, ...]:
    """The paths of lists of files, each once and in order, without what no program reads."""
    listed = {line for text in lists for line in text.splitlines()}
    return tuple(sorted(path for path in listed if path not in ("", "/.") and not NEEDLESS.match(path)))


def _package(fields: Mapping[str, str]) -> Package | None:
    if fields.get("Status", "").split()[-1:] != ["installed"]:
        return None
    needs = [*_parts(fields.get("Pre-Depends", "")), *_parts(fields.get("Depends", ""))]
    return Package(
        name=fields["Package"],
        version=fields["Version"],
        architecture=fields["Architecture"],
        shared=fields.get("Multi-Arch", "") == "same",
        provides=frozenset(name for names in _parts(fields.get("Provides", "")) for name in names),
        needs=tuple(needs),
    )


def _parts(relation: str) -> Iterator[tuple[str, ...]]:
    """Names of "a (>= 1), b | c:any" are (a,), (b, c): versions were dpkg's to check when it installed them."""
    for part in relation.split(","):
        names = (re.split(r"[\s(:\[]", choice.strip(), maxsplit=1)[0] for choice in part.split("|"))
        if found := tuple(name for name in names if name):
            yield found


def _fields(block: str) -> dict[str, str]:
    """The fields of one paragraph; of those that go on over several lines, the first."""
    lines = (line for line in block.splitlines() if line and not line[0].isspace())
    return {key: value.strip() for key, _, value in (line.partition(":") for line in lines)}
