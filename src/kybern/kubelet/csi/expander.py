"""Having drivers enlarge volumes that are in use, and telling their claims.

What holds: a claim is read anew before its driver is asked, so of many pods with a volume one has it enlarged; a driver
that enlarges nothing on nodes is not asked; one that cannot do it now does not keep a pod from starting.
"""

import logging
from datetime import UTC, datetime
from pathlib import Path

from kybern.api.core_v1 import PersistentVolume, PersistentVolumeClaim
from kybern.kubelet.csi import growth, wanted
from kybern.kubelet.csi.driver import EXPANDS, Driver, Growth, Refused
from kybern.kubelet.voice import Tell
from kybern.kubelet.volumes.plugin import CannotMount, Site
from kybern.machinery.quantity import parse

log = logging.getLogger(__name__)

_NOT_NOW = "FailedPrecondition"
_INFEASIBLE = frozenset({"InvalidArgument", "OutOfRange", "NotFound"})
# The driver may still be at it: nothing is known about the outcome.
_OPEN = frozenset({"Cancelled", "DeadlineExceeded", "Unavailable", "ResourceExhausted", "Aborted"})


class Expander:
    """``tell`` says something about a pod or a claim."""

    def __init__(self, node: str, tell: Tell) -> None:
        self._node = node
        self._tell = tell

    async def grow(self, site: Site, claim: str, driver: Driver, where: Path, staged: Path | None) -> None:
        """Enlarge a volume if that is due; raises CannotMount when the driver refuses."""
        found, volume = await _as_it_is(site, claim)
        size = growth.wanted(found, volume) if found is not None and volume is not None else ""
        if found is None or volume is None or not size or site.read_only:
            return
        abilities = await driver.abilities()
        if EXPANDS not in abilities:
            return
        asked = wanted.of_persistent(volume, read_only=False)
        found = await site.objects.claim_status(found, growth.begun(found))
        capable = wanted.capability(asked, abilities, site.fs_group)
        secrets = await wanted.secret(site.objects, asked.expand_secret)
        try:
            await driver.expand(Growth(asked.handle, where, staged, parse(size).value(), capable, secrets))
        except Refused as problem:
            await self._refused(site, found, problem)
            return
        text = f'MountVolume.NodeExpandVolume succeeded for volume "{asked.name}" {self._node}'
        for about in (site.pod, found):
            self._tell(about, "Normal", "FileSystemResizeSuccessful", text)
        await site.objects.claim_status(found, growth.done(found, size))

    async def _refused(self, site: Site, claim: PersistentVolumeClaim, problem: Refused) -> None:
        text = f'NodeExpandVolume.NodeExpandVolume failed for volume "{claim.spec.volume_name}" : {problem}'
        self._tell(site.pod, "Warning", "VolumeResizeFailed", text)
        if problem.code not in _OPEN:
            infeasible = problem.code in _INFEASIBLE
            told = growth.failed(claim, str(problem), datetime.now(UTC), infeasible=infeasible)
            await site.objects.claim_status(claim, told)
        if problem.code != _NOT_NOW:
            raise problem
        log.warning("%s", text)


async def _as_it_is(site: Site, claim: str) -> tuple[PersistentVolumeClaim | None, PersistentVolume | None]:
    found = await site.objects.claim(site.pod.metadata.namespace, claim)
    if found is None or site.persistent is None or found.spec.volume_name != site.persistent.metadata.name:
        return None, None
    try:
        return found, await site.objects.persistent(found.spec.volume_name)
    except CannotMount:
        return None, None
