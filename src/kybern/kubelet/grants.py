"""What each pod was granted and what its containers got, on disk: a kubelet that starts again must not grant anew.

One file a pod, ``ROOT/pods/UID/resources.json``, that goes with the pod's directory. Written all at once, before anything
is done by it.
"""

import logging
from pathlib import Path

import msgspec

from kybern.api.core_v1 import ResourceRequirements
from kybern.daemon.files import replace_file

log = logging.getLogger(__name__)

_NAME = "resources.json"


class Grant(msgspec.Struct):
    """By the name of a container; the pod's own under the empty name. ``generation``: of a resize that is not done yet."""

    allocated: dict[str, ResourceRequirements]
    actuated: dict[str, ResourceRequirements] = {}
    generation: int | None = None


_READS = msgspec.json.Decoder(Grant)


def read(home: Path) -> Grant | None:
    """What is kept of a pod; None for one that is new, or whose file cannot be understood."""
    try:
        return _READS.decode((home / _NAME).read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, msgspec.DecodeError) as problem:
        log.warning(
            "cannot read %s: %s; taking the pod's spec for what it was granted", home / _NAME, problem
        )
        return None


def write(home: Path, grant: Grant) -> None:
    home.mkdir(mode=0o750, parents=True, exist_ok=True)
    replace_file(home / _NAME, msgspec.json.encode(grant))
