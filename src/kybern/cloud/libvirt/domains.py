"""What a domain says of itself: whose machine it is, how large, where it can be reached. Pure: XML in, a record out."""

from dataclasses import dataclass
from xml.etree import ElementTree as ET

from kybern.api.core_v1 import NodeAddress
from kybern.cloud.provider import Instance
from kybern.machines.xml import URN

SCHEME = "libvirt://"
_UNITS = {"b": 1, "bytes": 1, "KB": 10**3, "k": 2**10, "KiB": 2**10, "MB": 10**6, "M": 2**20, "MiB": 2**20,
          "GB": 10**9, "G": 2**30, "GiB": 2**30, "TB": 10**12, "T": 2**40, "TiB": 2**40}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Domain:
    """A domain with our metadata: the cluster it is of, and its machine's name, which is the node's."""

    uuid: str
    cluster: str
    node: str
    address: str
    cpus: int
    memory: int  # MiB
    running: bool

    def instance(self, hypervisor: str) -> Instance:
        address = (NodeAddress(type="InternalIP", address=self.address),) if self.address else ()
        return Instance(
            provider_id=f"{SCHEME}{hypervisor}/{self.uuid}",
            running=self.running,
            instance_type=f"cpu{self.cpus}-mem{self.memory}",
            addresses=address,
        )


def read(xml: str, *, running: bool) -> Domain | None:
    """None for a domain that is no machine of ours."""
    top = ET.fromstring(xml)  # noqa: S314  # libvirt's own output
    ours = top.find(f"metadata/{{{URN}}}machine")
    if ours is None:
        return None
    memory = top.find("memory")
    size = int(memory.text or 0) * _UNITS[memory.get("unit", "KiB")] if memory is not None else 0
    return Domain(
        uuid=top.findtext("uuid", ""),
        cluster=ours.get("cluster", ""),
        node=ours.get("name", ""),
        address=ours.get("address", ""),
        cpus=int(top.findtext("vcpu", "1")),
        memory=size // 2**20,
        running=running,
    )


def place(provider_id: str) -> tuple[str, str]:
    """The hypervisor and the UUID that a provider ID names; raises ValueError for one that is not libvirt's."""
    hypervisor, slash, uuid = provider_id.removeprefix(SCHEME).partition("/")
    if not provider_id.startswith(SCHEME) or not slash or not hypervisor or not uuid:
        raise ValueError(f'"{provider_id}" is no provider ID of libvirt\'s, {SCHEME}HYPERVISOR/UUID')
    return hypervisor, uuid
