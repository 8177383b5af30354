"""What a machine says of its disks: lsblk's JSON, then a line "signatures", then lines "DEVICE TYPE" of wipefs. Pure."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

FINISHED, UNFINISHED = "kybern-root", "kybern-unfinished"
"""The names of our root's partition: when all is on the disk, and before."""
_MARK = "signatures"


@dataclass(frozen=True, slots=True)
class Partition:
    path: str
    label: str
    uuid: str


@dataclass(frozen=True, slots=True)
class Disk:
    """``size`` in bytes; ``table`` is its partition table's UUID, in small letters.

    ``signatures`` is what wipefs finds on it as a whole, such as "gpt", "ext4", "LVM2_member".
    """

    path: str
    size: int
    table: str
    names: frozenset[str]
    model: str
    serial: str
    usable: bool
    partitions: tuple[Partition, ...]
    signatures: tuple[str, ...]

    @property
    def is_blank(self) -> bool:
        return not self.partitions and not self.signatures

    @property
    def shown(self) -> str:
        about = " ".join(each for each in (self.model, self.serial) if each)
        return f"{self.path} ({self.size // 10**9} GB{', ' + about if about else ''})"

    @property
    def content(self) -> str:
        """What is on it, for people."""
        labels = [each.label or each.path for each in self.partitions]
        return ", ".join([*dict.fromkeys(self.signatures), *labels])


def parse(text: str) -> tuple[Disk, ...]:
    """Raises ValueError for what no machine of ours says."""
    told, mark, rest = text.partition(f"\n{_MARK}")
    if not mark:
        raise ValueError("cannot read a machine's disks: the signatures are missing")
    signatures: dict[str, list[str]] = {}
    for words in map(str.split, rest.splitlines()):
        if len(words) >= 2:  # DEVICE and TYPE
            signatures.setdefault(words[0], []).append(words[1])
    try:
        devices = json.loads(told)["blockdevices"]
        return tuple(_disk(each, signatures) for each in devices if each["type"] == "disk")
    except (KeyError, TypeError, AttributeError) as problem:
        raise ValueError(f"cannot read a machine's disks: {problem!r}") from problem


def _disk(raw: Mapping[str, Any], signatures: Mapping[str, list[str]]) -> Disk:
    path = str(raw["path"])
    names = {path, *(str(raw[key]).strip() for key in ("serial", "wwn") if raw.get(key))}
    virtual = str(raw["name"]).startswith(("ram", "zram", "loop", "nbd", "fd"))
    return Disk(
        path=path,
        size=int(raw["size"]),
        table=str(raw.get("ptuuid") or "").lower(),
        names=frozenset(names),
        model=str(raw.get("model") or "").strip(),
        serial=str(raw.get("serial") or "").strip(),
        usable=not (virtual or raw["ro"]) and not raw["rm"],
        partitions=tuple(
            Partition(str(each["path"]), str(each.get("partlabel") or ""), str(each.get("partuuid") or ""))
            for each in raw.get("children", ())
        ),
        signatures=tuple(signatures.get(path, ())),
    )
