"""The volumes of a pod. What mounts a volume with a flaw is told that the volume is not there, as upstream has it."""

from collections.abc import Callable, Iterator, Mapping

from kybern.api.rules.causes import all_invalid, duplicate, forbidden, invalid, required
from kybern.api.rules.formats import label
from kybern.api.rules.paths import below_and_free
from kybern.api.rules.pods.environment import resource_of_container, volume_field
from kybern.api.rules.pods.projections import trust_bundle
from kybern.api.rules.sources import CHECKS, Check
from kybern.machinery import quantity
from kybern.machinery.errors import Cause
from kybern.machinery.kind import Raw

_MODE = "must be a number between 0 and 0777 (octal), both inclusive"
_ONE_REFERENCE = "one of fieldRef and resourceFieldRef is required"
_ZERO = quantity.parse("0")
# in the order in which upstream looks for them
_KINDS = (
    "emptyDir", "hostPath", "gitRepo", "gcePersistentDisk", "awsElasticBlockStore", "secret", "nfs", "iscsi",
    "glusterfs", "flocker", "persistentVolumeClaim", "rbd", "cinder", "cephfs", "quobyte", "downwardAPI", "fc",
    "flexVolume", "configMap", "azureFile", "vsphereVolume", "photonPersistentDisk", "portworxVolume", "azureDisk",
    "storageos", "projected", "scaleIO", "csi", "ephemeral", "image",
)  # fmt: skip


def _mode(field: str, mode: int | None) -> Iterator[Cause]:
    if mode is not None and not 0 <= mode <= 0o777:
        yield invalid(field, mode, _MODE)


def _items(field: str, items: list[Raw] | None) -> Iterator[Cause]:
    """Keys that become files."""
    for i, item in enumerate(items or ()):
        at = f"{field}[{i}]"
        for key in ("key", "path"):
            if not item.get(key):
                yield required(f"{at}.{key}")
        yield from below_and_free(f"{at}.path", item.get("path", ""))
        yield from _mode(f"{at}.mode", item.get("mode"))


def _empty_dir(field: str, source: Raw) -> Iterator[Cause]:
    limit = source.get("sizeLimit")
    if limit is not None and quantity.parse(limit) < _ZERO:
        yield forbidden(f"{field}.sizeLimit", "SizeLimit field must be a valid resource quantity")


def _keys(name: str) -> Check:
    """A config map or a secret as files."""

    def check(field: str, source: Raw) -> Iterator[Cause]:
        if not source.get(name):
            yield required(f"{field}.{name}")
        yield from _mode(f"{field}.defaultMode", source.get("defaultMode"))
        yield from _items(f"{field}.items", source.get("items"))

    return check


def _downward_file(field: str, file: Raw) -> Iterator[Cause]:
    if not file.get("path"):
        yield required(f"{field}.path")
    yield from below_and_free(f"{field}.path", file.get("path", ""))
    of_pod, of_container = file.get("fieldRef"), file.get("resourceFieldRef")
    if of_pod is not None:
        yield from volume_field(f"{field}.fieldRef", of_pod)
        if of_container is not None:
            yield invalid(
                field, "resource", "fieldRef and resourceFieldRef can not be specified simultaneously"
            )
    elif of_container is not None:
        yield from resource_of_container(f"{field}.resourceFieldRef", of_container, in_volume=True)
    else:
        yield required(field, _ONE_REFERENCE)
    yield from _mode(f"{field}.mode", file.get("mode"))


def _downward(field: str, source: Raw) -> Iterator[Cause]:
    yield from _mode(f"{field}.defaultMode", source.get("defaultMode"))
    for file in source.get("items") or ():
        yield from _downward_file(field, file)


def _token(field: str, source: Raw) -> Iterator[Cause]:
    lasting = source.get("expirationSeconds")
    if lasting is not None and lasting < 600:
        yield invalid(
            f"{field}.expirationSeconds", lasting, "may not specify a duration less than 10 minutes"
        )
    elif lasting is not None and lasting > 1 << 32:
        yield invalid(
            f"{field}.expirationSeconds", lasting, "may not specify a duration larger than 2^32 seconds"
        )
    if not source.get("path"):
        yield required(f"{field}.path")
    else:
        yield from below_and_free(f"{field}.path", source["path"])


def _projected_keys(field: str, source: Raw) -> Iterator[Cause]:
    if not source.get("name"):
        yield required(f"{field}.name")
    yield from _items(f"{field}.items", source.get("items"))


def _projected_downward(field: str, source: Raw) -> Iterator[Cause]:
    for file in source.get("items") or ():
        yield from _downward_file(field, file)


_PROJECTED: Mapping[str, Check] = {
    "secret": _projected_keys,
    "configMap": _projected_keys,
    "downwardAPI": _projected_downward,
    "serviceAccountToken": _token,
    "clusterTrustBundle": trust_bundle,
}


def _paths_of(source: Raw) -> Iterator[tuple[str, str]]:
    """The paths that a source fills, each with what upstream names when it is taken."""
    for kind in ("secret", "configMap", "downwardAPI"):
        found = source.get(kind) or {}
        for item in found.get("items") or ():
            path = item.get("path", "")
            yield path, path if kind == "downwardAPI" else found.get("name", "")
    for kind in ("serviceAccountToken", "clusterTrustBundle"):
        if source.get(kind) is not None:
            path = source[kind].get("path", "")
            yield path, path


def _projected(field: str, volume: Raw) -> Iterator[Cause]:
    yield from _mode(f"{field}.defaultMode", volume.get("defaultMode"))
    seen: set[str] = set()
    for i, source in enumerate(volume.get("sources") or ()):
        at = f"{field}.sources[{i}]"
        kinds = [kind for kind in _PROJECTED if source.get(kind) is not None]
        for kind in kinds[:1]:
            yield from _PROJECTED[kind](f"{at}.{kind}", source[kind])
        for kind in kinds[1:]:
            yield forbidden(f"{at}.{kind}", "may not specify more than 1 volume type per source")
        for path, named in _paths_of(source):
            if path and path in seen:
                yield invalid(field, named, "conflicting duplicate paths")
            seen.add(path)


def _claim(field: str, source: Raw) -> Iterator[Cause]:
    if not source.get("claimName"):
        yield required(f"{field}.claimName")


_OF_PODS: Mapping[str, Check] = {
    **CHECKS,
    "emptyDir": _empty_dir,
    "secret": _keys("secretName"),
    "configMap": _keys("name"),
    "downwardAPI": _downward,
    "projected": _projected,
    "persistentVolumeClaim": _claim,
}


def _source(field: str, volume: Raw, claim_spec: Check) -> Iterator[Cause]:
    kinds = [kind for kind in _KINDS if volume.get(kind) is not None]
    for kind in kinds[1:]:
        yield forbidden(f"{field}.{kind}", "may not specify more than 1 volume type")
    for kind in kinds[:1]:
        at = f"{field}.{kind}"
        if kind == "ephemeral":
            yield from _ephemeral(at, volume[kind], claim_spec)
        elif kind in _OF_PODS:
            yield from _OF_PODS[kind](at, volume[kind])


def _ephemeral(field: str, source: Raw, claim_spec: Check) -> Iterator[Cause]:
    template = source.get("volumeClaimTemplate")
    if template is None:
        yield required(f"{field}.volumeClaimTemplate")
    else:
        yield from claim_spec(f"{field}.volumeClaimTemplate.spec", template.get("spec") or {})


def volumes(
    field: str, found: list[Raw], claim_spec: Check, report: Callable[[Cause], None]
) -> dict[str, Raw]:
    """The volumes without a flaw, by name; the flaws of the others are reported."""
    sound: dict[str, Raw] = {}
    for i, volume in enumerate(found):
        at, name = f"{field}[{i}]", volume.get("name", "")
        flaws = list(_source(at, volume, claim_spec))
        if not name:
            flaws.append(required(f"{at}.name"))
        else:
            flaws += all_invalid(f"{at}.name", name, label(name))
        if name in sound:
            flaws.append(duplicate(f"{at}.name", name))
        if not flaws:
            sound[name] = volume
        for flaw in flaws:
            report(flaw)
    return sound
