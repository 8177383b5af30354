"""The text of --cloud-config, read strictly.

cluster: lab                     # whose machines: as ``kybern machines up`` notes it in each domain
region: home                     # optional: the label topology.kubernetes.io/region of all nodes
hypervisors:                     # a name, which is the zone, and how libvirt is reached there
  rack-1: qemu+tls://rack-1.example/system?pkipath=/etc/kubernetes/cloud
  rack-2: lxc+unix:///system?socket=/run/libvirt/libvirt-sock-ro
volumes: true                    # optional: for the daemon of the volumes, whose connections are to change things
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from kybern.cloud.provider import BadConfig

_KEYS = {"cluster", "region", "hypervisors", "volumes"}
_LABEL = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?")


@dataclass(frozen=True, slots=True)
class Config:
    """``hypervisors``: URIs by name."""

    cluster: str
    hypervisors: Mapping[str, str]
    region: str = ""
    volumes: bool = False


def read(text: str) -> Config:
    """Raises BadConfig."""
    try:
        found: Any = yaml.safe_load(text)
    except yaml.YAMLError as problem:
        raise BadConfig(f"it is not YAML: {problem}") from problem
    if not isinstance(found, dict):
        raise BadConfig('it says nothing; give it "cluster" and "hypervisors"')
    if strange := sorted(str(key) for key in found.keys() - _KEYS):
        raise BadConfig(f'unknown key "{strange[0]}"; there are {", ".join(sorted(_KEYS))}')
    hypervisors = found.get("hypervisors")
    if not isinstance(hypervisors, dict) or not hypervisors:
        raise BadConfig('"hypervisors" names none; give each a name and a URI of libvirt\'s')
    for name, uri in hypervisors.items():
        _label("hypervisors", name)
        if not isinstance(uri, str) or "://" not in uri:
            raise BadConfig(f'"{uri}" is no URI of libvirt\'s, such as qemu+tls://HOST/system')
    region, volumes = found.get("region", ""), found.get("volumes", False)
    if not isinstance(volumes, bool):
        raise BadConfig(f'"volumes": "{volumes}" is neither true nor false')
    cluster = _label("cluster", found.get("cluster"))
    return Config(cluster, dict(hypervisors), region and _label("region", region), volumes)


def _label(key: str, value: object) -> str:
    """A name that nodes can have as a label's value."""
    if not isinstance(value, str) or not _LABEL.fullmatch(value):
        raise BadConfig(f'"{key}": "{value}" is no name of letters, digits, dots, dashes, at most 63 long')
    return value
