"""/configz: the configuration in force, in the form of KubeletConfiguration. Pure.

All fields that are honoured, and those that are not as they were given or are by default. What is zero is left out where
Go leaves it out: texts, numbers and lists that are no pointers.
"""

from collections.abc import Mapping
from typing import Any

import msgspec

from kybern.daemon.flags import duration
from kybern.daemon.flags import shown_duration as spelled
from kybern.kubelet.config_file import API_VERSION
from kybern.kubelet.keys import KEYS, POINTERS
from kybern.kubelet.memory.reservation import Reservation
from kybern.kubelet.settings import Settings
from kybern.kubelet.shutdown.groups import Period
from kybern.machinery.struct import Struct, encode

# Of the fields that have no setting here.
_DEFAULTS: Mapping[str, Any] = {
    "syncFrequency": "1m0s",
    "fileCheckFrequency": "20s",
    "streamingConnectionIdleTimeout": "4h0m0s",
    "hairpinMode": "promiscuous-bridge",
    "contentType": "application/vnd.kubernetes.protobuf",
    "kubeAPIQPS": 50,
    "kubeAPIBurst": 100,
    "iptablesMasqueradeBit": 14,
    "iptablesDropBit": 15,
    "configMapAndSecretChangeDetectionStrategy": "Watch",
    "volumePluginDir": "/usr/libexec/kubernetes/kubelet-plugins/volume/exec/",
    "cgroupsPerQOS": True,
    "enableControllerAttachDetach": True,
    "memoryThrottlingFactor": 0.9,
    "memorySwap": {},
    "logging.flushFrequency": "5s",
    "logging.options": {"json": {"infoBufferSize": "0"}, "text": {"infoBufferSize": "0"}},
}
# Zero is shown: a pointer, or a number that Go does not leave out.
_SHOWN = POINTERS - {"maxParallelImagePulls"} | {"logging.verbosity"}
_LEFT_OUT_WHEN_FALSE = frozenset({"rotateCertificates", "serverTLSBootstrap"})


def configz(settings: Settings) -> dict[str, Any]:
    """As upstream's kubelet answers it; times as Go spells them."""
    found: dict[str, Any] = {"apiVersion": API_VERSION, "kind": "KubeletConfiguration"}
    for key, value in {**_DEFAULTS, **settings.past}.items():
        _put(found, key, _given(key, value))
    for key, name in KEYS.items():
        value = getattr(settings, name)
        if name == "static_pod_header":
            value = dict.fromkeys(value, ("<masked>",))
        if _told(key, value):
            _put(found, key, _plain(value))
    if settings.gates:
        found["featureGates"] = dict(settings.gates)
    return {"kubeletconfig": found}


def _given(key: str, value: Any) -> Any:
    """A value as it was given; times, which a file and a flag write in other ways, in Go's."""
    default = _DEFAULTS.get(key)
    if not isinstance(default, str) or not default[:1].isdigit():
        return dict(value) if isinstance(value, Mapping) else value
    return spelled(value if isinstance(value, float) else duration(str(value)))


def _told(key: str, value: Any) -> bool:
    if isinstance(value, bool):
        return value or key not in _LEFT_OUT_WHEN_FALSE
    return isinstance(value, float) or key in _SHOWN or bool(value)


def _put(found: dict[str, Any], key: str, value: Any) -> None:
    *middle, last = key.split(".")
    for part in middle:
        found = found.setdefault(part, {})
    found[last] = value


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
