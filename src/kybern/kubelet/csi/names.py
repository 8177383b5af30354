"""Names, places and records of CSI volumes, as upstream has them (pkg/volume/csi)."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from kybern.daemon.files import replace_file

_RECORD = "vol_data.json"
_VOLUMES = "volumes/kubernetes.io~csi"


def _hashed(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def attachment_name(handle: str, driver: str, node: str) -> str:
    """What the VolumeAttachment of a volume on a node is called."""
    return f"csi-{_hashed(handle + driver + node)}"


def inline_handle(uid: str, volume: str) -> str:
    """The handle of a volume that is the pod's own."""
    return f"csi-{_hashed(uid + volume)}"


def unique_name(driver: str, handle: str) -> str:
    """How a node's status names an attached volume."""
    return f"kubernetes.io/csi/{driver}^{handle}"


def staging(root: Path, driver: str, handle: str) -> Path:
    """Where a volume is staged: the directory of its record and its ``globalmount``."""
    return root / "plugins/kubernetes.io/csi" / driver / _hashed(handle)


@dataclass(frozen=True, slots=True)
class Record:
    """What a volume directory holds. ``attachment`` is empty for a driver without attachments."""

    driver: str
    handle: str
    name: str
    node: str
    persistent: bool = True
    attachment: str = ""


def write(directory: Path, record: Record) -> None:
    """All at once, so that a crash leaves the old one or the new one."""
    directory.mkdir(mode=0o750, parents=True, exist_ok=True)
    found = {
        "driverName": record.driver, "volumeHandle": record.handle, "specVolID": record.name,
        "nodeName": record.node, "attachmentID": record.attachment,
        "volumeLifecycleMode": "Persistent" if record.persistent else "Ephemeral",
    }  # fmt: skip
    replace_file(directory / _RECORD, json.dumps(found).encode())


def read(directory: Path) -> Record | None:
    """None where there is none, or none that can be understood."""
    try:
        raw = json.loads((directory / _RECORD).read_text())
        return Record(
            raw["driverName"], raw["volumeHandle"], raw.get("specVolID", ""), raw.get("nodeName", ""),
            raw.get("volumeLifecycleMode") != "Ephemeral", raw.get("attachmentID", ""),
        )  # fmt: skip
    except (OSError, ValueError, KeyError):
        return None


def forget(directory: Path) -> None:
    """Remove a volume's directory once nothing is mounted there; what a driver left in it is not ours to remove."""
    for path in (directory / "mount", directory / "globalmount"):
        if path.is_symlink() or path.is_file():
            path.unlink()
        elif path.is_dir():
            path.rmdir()
    (directory / _RECORD).unlink(missing_ok=True)
    if directory.is_dir():
        directory.rmdir()


def of_pod(home: Path) -> Iterator[tuple[Path, Record]]:
    """The volumes of one pod: directory and record."""
    for directory in sorted((home / _VOLUMES).glob("*")):
        record = read(directory)
        if record is not None:
            yield directory, record


def of_pods(root: Path) -> Iterator[Record]:
    """Of all pods on the node."""
    for home in (root / "pods").glob("*"):
        yield from (record for _directory, record in of_pod(home))


def staged(root: Path) -> Iterator[tuple[Path, Record]]:
    """All that is staged on the node."""
    for directory in sorted((root / "plugins/kubernetes.io/csi").glob("*/*")):
        record = read(directory)
        if record is not None:
            yield directory, record
