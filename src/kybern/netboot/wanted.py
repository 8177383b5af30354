"""Who may boot, and with what: the server's configuration, which a role writes and the daemon reads. JSON."""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Wanted:
    """A machine that is installed here.

    ``mac`` in small letters with colons, ``address`` as ADDRESS/PREFIX. ``partition`` is the UUID of its root, ``disk`` a
    path, serial number or WWN, and empty when it has one disk only. ``wipe``: the disk may be emptied of what is not ours.
    """

    name: str
    mac: str
    address: str
    partition: str
    disk: str = ""
    wipe: bool = False


@dataclass(frozen=True, slots=True)
class Served:
    """All of the configuration. ``url`` is the server's own; ``sha256`` is the image's, and ``kernel`` are arguments."""

    url: str
    sha256: str
    kernel: str
    machines: tuple[Wanted, ...]

    def machine(self, mac: str) -> Wanted | None:
        """By its hardware address, however it is written."""
        plain = mac.lower().replace("-", ":")
        return next((each for each in self.machines if each.mac == plain), None)


def written(served: Served) -> str:
    return json.dumps(asdict(served), indent=1) + "\n"


def read(text: str) -> Served:
    """Raises ValueError for what is no configuration."""
    try:
        raw: dict[str, Any] = json.loads(text)
        machines: Iterable[dict[str, Any]] = raw.pop("machines")
        return Served(machines=tuple(Wanted(**each) for each in machines), **raw)
    except (TypeError, KeyError, AttributeError) as problem:
        raise ValueError(f"not a configuration of kybern-netboot: {problem}") from problem
