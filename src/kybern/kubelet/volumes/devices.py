"""From volume devices to the devices of a container (volumeMode Block)."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from kybern._proto import cri_pb2 as pb
from kybern.api.core_v1 import Container, Pod
from kybern.kubelet.volumes.plugin import CannotMount


def devices(pod: Pod, container: Container, volumes: Mapping[str, Path]) -> Iterator[Any]:
    """CRI's Device for each. ``volumes`` gives the path of each volume of the pod, here a link to a device."""
    read_only = {
        one.name
        for one in pod.spec.volumes
        if one.persistent_volume_claim is not None and one.persistent_volume_claim.read_only
    }
    for device in container.volume_devices:
        if device.name not in volumes:
            text = f'cannot find volume "{device.name}" to pass into container "{container.name}"'
            raise CannotMount(text)
        rights = "r" if device.name in read_only else "mrw"
        yield pb.Device(
            container_path=device.device_path, host_path=str(volumes[device.name]), permissions=rights
        )
