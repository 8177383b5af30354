"""Where the data of a volume is: the sources that pods and persistent volumes can both name."""

import re
from collections.abc import Callable, Iterator, Mapping

from kybern.api.rules.causes import all_invalid, in_range, invalid, one_of, required, too_long
from kybern.api.rules.formats import subdomain
from kybern.api.rules.paths import below, no_way_up
from kybern.machinery.errors import Cause
from kybern.machinery.kind import Raw

type Check = Callable[[str, Raw], Iterator[Cause]]

_HOST_PATHS = (
    "",
    "BlockDevice",
    "CharDevice",
    "Directory",
    "DirectoryOrCreate",
    "File",
    "FileOrCreate",
    "Socket",
)
_IQN = re.compile(r"iqn\.\d{4}-\d{2}\.([\w\-.]+)(:[\w\-.:]+)?|eui\.[0-9A-Fa-f]{16}|naa\.[0-9A-Fa-f]{16,32}")
_WWNS = "must specify either targetWWNs or wwids, but not both"


def _needing(*keys: str) -> Check:
    """A source that only has to be complete."""

    def check(field: str, source: Raw) -> Iterator[Cause]:
        for key in keys:
            if not source.get(key):
                yield required(f"{field}.{key}")

    return check


def _host_path(field: str, source: Raw) -> Iterator[Cause]:
    if not source.get("path"):
        yield required(f"{field}.path")
        return
    yield from no_way_up(f"{field}.path", source["path"])
    yield from one_of(f"{field}.type", source.get("type", ""), _HOST_PATHS)


def _nfs(field: str, source: Raw) -> Iterator[Cause]:
    yield from _needing("server", "path")(field, source)
    path = source.get("path", "")
    if not path.startswith("/"):
        yield invalid(f"{field}.path", path, "must be an absolute path")


def _git(field: str, source: Raw) -> Iterator[Cause]:
    yield from _needing("repository")(field, source)
    yield from below(f"{field}.directory", source.get("directory", ""))


def _iscsi(field: str, source: Raw) -> Iterator[Cause]:
    yield from _needing("targetPortal", "iqn")(field, source)
    name = source.get("iqn", "")
    if name and not name.startswith(("iqn", "eui", "naa")):
        yield invalid(f"{field}.iqn", name, "must be valid format starting with iqn, eui, or naa")
    elif name and not _IQN.fullmatch(name):
        yield invalid(f"{field}.iqn", name, "must be valid format")
    yield from in_range(f"{field}.lun", source.get("lun", 0), 0, 255)
    if (source.get("chapAuthDiscovery") or source.get("chapAuthSession")) and not source.get("secretRef"):
        yield required(f"{field}.secretRef")


def _fc(field: str, source: Raw) -> Iterator[Cause]:
    names, ids, lun = source.get("targetWWNs"), source.get("wwids"), source.get("lun")
    if not names and not ids:
        yield required(f"{field}.targetWWNs", _WWNS)
    if names and ids:
        yield invalid(
            f"{field}.targetWWNs", names, "targetWWNs and wwids can not be specified simultaneously"
        )
    if names and lun is None:
        yield required(f"{field}.lun", "lun is required if targetWWNs is specified")
    elif names and lun is not None:
        yield from in_range(f"{field}.lun", lun, 0, 255)


def driver_name(field: str, text: str) -> Iterator[Cause]:
    """The name of a storage driver."""
    if not text:
        yield required(field)
        return
    if len(text) > 63:
        yield too_long(field, 63)
    yield from all_invalid(field, text, subdomain(text.lower()))


def _csi(field: str, source: Raw) -> Iterator[Cause]:
    yield from driver_name(f"{field}.driver", source.get("driver", ""))
    secret = source.get("nodePublishSecretRef")
    if secret is not None and not secret.get("name"):
        yield required(f"{field}.nodePublishSecretRef.name")


CHECKS: Mapping[str, Check] = {
    "hostPath": _host_path,
    "nfs": _nfs,
    "gitRepo": _git,
    "iscsi": _iscsi,
    "fc": _fc,
    "csi": _csi,
    "image": _needing("reference"),
    "gcePersistentDisk": _needing("pdName"),
    "awsElasticBlockStore": _needing("volumeID"),
    "glusterfs": _needing("endpoints", "path"),
    "rbd": _needing("monitors", "image"),
    "cinder": _needing("volumeID"),
    "cephfs": _needing("monitors"),
    "quobyte": _needing("registry", "volume"),
    "flexVolume": _needing("driver"),
    "azureFile": _needing("secretName", "shareName"),
    "vsphereVolume": _needing("volumePath"),
    "photonPersistentDisk": _needing("pdID"),
    "portworxVolume": _needing("volumeID"),
    "azureDisk": _needing("diskName", "diskURI"),
    "scaleIO": _needing("gateway", "system", "volumeName"),
}
