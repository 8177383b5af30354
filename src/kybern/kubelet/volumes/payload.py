"""Which files config maps, secrets and downward API items become. Pure."""

import base64
from collections.abc import Iterable, Mapping

from kybern.api.core_v1 import ConfigMap, DownwardAPIVolumeFile, KeyToPath, Pod, Secret
from kybern.kubelet.fields import Place, Unknown, container_of, field_value, resource_value
from kybern.kubelet.volumes.atomic import File, checked
from kybern.kubelet.volumes.plugin import CannotMount

DEFAULT_MODE = 0o644


def of_config_map(found: ConfigMap) -> Mapping[str, bytes]:
    data = {key: value.encode() for key, value in found.data.items()}
    return {**data, **{key: base64.b64decode(value) for key, value in found.binary_data.items()}}


def of_secret(found: Secret) -> Mapping[str, bytes]:
    return {key: base64.b64decode(value) for key, value in found.data.items()}


def chosen(
    data: Mapping[str, bytes],
    items: Iterable[KeyToPath],
    mode: int | None,
    *,
    optional: bool,
    kind: str = "config",
) -> dict[str, File]:
    """All keys, or those that are listed, at their paths. A listed key that is not there is an error, unless optional.

    ``kind`` is how the error calls keys: those of a config, or of a secret.
    """
    usual = DEFAULT_MODE if mode is None else mode
    listed = tuple(items)
    if not listed:
        return {key: File(value, usual) for key, value in data.items()}
    found = {}
    for item in listed:
        if item.key in data:
            found[_path(item.path)] = File(data[item.key], usual if item.mode is None else item.mode)
        elif not optional:
            raise CannotMount(f"references non-existent {kind} key: {item.key}")
    return found


def downward(
    items: Iterable[DownwardAPIVolumeFile], pod: Pod, place: Place, mode: int | None
) -> dict[str, File]:
    """Files of the pod's own fields and resources."""
    found = {}
    for item in items:
        used = item.mode if item.mode is not None else DEFAULT_MODE if mode is None else mode
        try:
            if item.field_ref is not None:
                text = field_value(item.field_ref, pod, place)
            elif item.resource_field_ref is not None:
                of = container_of(pod, item.resource_field_ref.container_name)
                text = resource_value(item.resource_field_ref, of, place)
            else:
                continue
        except Unknown as problem:
            raise CannotMount(str(problem)) from problem
        found[_path(item.path)] = File(text.encode(), used)
    return found


def _path(path: str) -> str:
    try:
        return checked(path)
    except ValueError as problem:
        raise CannotMount(str(problem)) from problem
