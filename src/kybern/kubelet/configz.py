"""/configz: the configuration in force, in the form of KubeletConfiguration. Pure."""

from collections.abc import Mapping
from typing import Any

import msgspec

from kybern.kubelet.keys import KEYS
from kybern.kubelet.memory.reservation import Reservation
from kybern.kubelet.settings import Settings
from kybern.kubelet.shutdown.groups import Period
from kybern.machinery.struct import Struct, encode


def configz(settings: Settings) -> dict[str, Any]:
    """As upstream's kubelet answers it; times as Go spells them."""
    found: dict[str, Any] = {"apiVersion": "kubelet.config.k8s.io/v1beta1", "kind": "KubeletConfiguration"}
    for key, name in KEYS.items():
        *middle, last = key.split(".")
        place = found
        for part in middle:
            place = place.setdefault(part, {})
        place[last] = _plain(getattr(settings, name))
    return {"kubeletconfig": found}


def _plain(value: Any) -> Any:
    if isinstance(value, Period):
        return {"priority": value.priority, "shutdownGracePeriodSeconds": value.seconds}
    if isinstance(value, Reservation):
        return {"numaNode": value.node, "limits": dict(value.limits)}
    if isinstance(value, float):
        return spelled(value)
    if isinstance(value, Mapping):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, tuple):
        return [_plain(each) for each in value]
    return msgspec.json.decode(encode(value)) if isinstance(value, Struct) else value


def spelled(seconds: float) -> str:
    """A duration as Go prints it: 1m30s, 100ms, 0s."""
    if 0 < seconds < 1:
        return f"{seconds * 1000:g}ms"
    minutes, rest = divmod(seconds, 60)
    hours, minutes = divmod(int(minutes), 60)
    head = f"{hours}h" if hours else ""
    return f"{head}{minutes}m{rest:g}s" if hours or minutes else f"{rest:g}s"
