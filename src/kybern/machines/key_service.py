"""The topology's ``kms``: where on each master a key management service's plugin listens, and what may be asked of it.

encryption: kms
kms: unix:///run/kms/plugin.sock

It may be there without ``encryption: kms``: on the way to it, and on the way back until no secret is sealed by it.
"""

import re

from kybern.machines.encryption import KMS
from kybern.machines.fields import Fields, Place
from kybern.machines.topology import Cluster

SCHEME = "unix://"
# A directory of the plugin's own, which an API server sees in its sandbox, be it a unit or a pod; in these two it makes
# its own, or sees nothing.
_SOCKET = re.compile(
    r"/(run|var/run|var/lib)/(?!(kubernetes|user)/)([A-Za-z0-9_-][A-Za-z0-9_.-]*/)+[A-Za-z0-9_-][A-Za-z0-9_.-]*"
)
# unix(7): sun_path has 108 bytes, and the last of them is zero.
LONGEST = 107
ENDPOINT = (
    f'a socket in a directory of its own below /run or /var/lib, such as "{SCHEME}/run/kms/plugin.sock", '
    f"with a path of at most {LONGEST} bytes"
)


def kms_of(top: Fields) -> str:
    """The endpoint; empty when there is none. Raises TopologyError with its line."""
    return top.parse("kms", endpoint, ENDPOINT, "")


def endpoint(text: str) -> str:
    """Raises ValueError for what API servers could not reach."""
    path = text.removeprefix(SCHEME)
    if path == text or len(path) > LONGEST or not _SOCKET.fullmatch(path):
        raise ValueError(text)
    return text


def check_kms(cluster: Cluster, at: Place) -> None:
    """Raises TopologyError when secrets shall be sealed by a service that nobody named."""
    if cluster.encryption == KMS and not cluster.kms:
        raise at.error(
            f'"encryption: {KMS}" needs to know where the plugin listens on every master; add "kms: '
            f'{SCHEME}/run/kms/plugin.sock", or whatever its socket is'
        )


def folder(cluster: Cluster) -> str:
    """The directory of the plugin's socket; empty when there is none."""
    return cluster.kms.removeprefix(SCHEME).rpartition("/")[0]
