"""libvirt as a cloud: its configuration, its domains, and what follows from what hypervisors answer."""

from dataclasses import dataclass

import pytest

from kybern.api.core_v1 import NodeAddress
from kybern.cloud.libvirt.config import Config, read
from kybern.cloud.libvirt.domains import Domain, place
from kybern.cloud.libvirt.domains import read as read_domain
from kybern.cloud.libvirt.provider import Libvirt
from kybern.cloud.provider import BadConfig, CloudError, Zone

GOOD = "cluster: lab\nregion: home\nhypervisors: {rack-1: 'lxc:///system', rack-2: 'qemu+tls://b/system'}"


def test_a_configuration_is_read() -> None:
    assert read(GOOD) == Config("lab", {"rack-1": "lxc:///system", "rack-2": "qemu+tls://b/system"}, "home")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "it says nothing"),
        ("{", "it is not YAML"),
        ("cluster: lab\nhypervisor: {}", 'unknown key "hypervisor"'),
        ("cluster: lab", '"hypervisors" names none'),
        ("cluster: lab\nhypervisors: {a: here}", '"here" is no URI'),
        ("cluster: lab\nhypervisors: {a/b: 'lxc:///'}", '"hypervisors": "a/b" is no name'),
        ("hypervisors: {a: 'lxc:///'}", '"cluster": "None" is no name'),
        ("cluster: lab\nregion: [x]\nhypervisors: {a: 'lxc:///'}", '"region"'),
    ],
)
def test_a_configuration_that_cannot_be_used_is_told(text: str, why: str) -> None:
    with pytest.raises(BadConfig, match=why):
        read(text)


XML = """<domain type='lxc'><name>lab-worker-1</name><uuid>U</uuid><metadata>
<k:machine xmlns:k='urn:kybern:machine:1' cluster='lab' name='worker-1' address='10.0.0.21' roles='worker'/></metadata>
<memory unit='KiB'>2097152</memory><vcpu placement='static'>2</vcpu></domain>"""


def test_a_machine_is_known_by_what_its_domain_says() -> None:
    found = read_domain(XML, running=False)
    assert found == Domain("U", "lab", "worker-1", "10.0.0.21", 2, 2048, running=False)
    machine = found.instance("rack-1")
    assert (machine.provider_id, machine.instance_type) == ("libvirt://rack-1/U", "cpu2-mem2048")
    assert machine.addresses == (NodeAddress(type="InternalIP", address="10.0.0.21"),)
    assert not machine.running


def test_a_domain_without_that_is_no_machine() -> None:
    assert read_domain("<domain><name>x</name><metadata/></domain>", running=True) is None


@pytest.mark.parametrize("text", ["U", "kind://a/b", "libvirt://a", "libvirt:///u", "libvirt://a/"])
def test_a_provider_id_of_others_is_none_of_ours(text: str) -> None:
    with pytest.raises(ValueError, match="is no provider ID"):
        place(text)


@dataclass
class FakeHypervisor:
    name: str
    domains: tuple[Domain, ...] = ()
    is_away: bool = False

    async def all(self) -> tuple[Domain, ...]:
        if self.is_away:
            raise CloudError(f"cannot ask {self.name}")
        return self.domains

    async def by_uuid(self, uuid: str) -> Domain | None:
        return next((one for one in await self.all() if one.uuid == uuid), None)

    async def close(self) -> None:
        """Nothing is open."""


ONE = Domain("u1", "lab", "n1", "", 1, 512, running=True)
TWIN = Domain("u2", "lab", "n1", "", 1, 512, running=True)
STRANGER = Domain("u3", "other", "n1", "", 1, 512, running=True)


def cloud(*hypervisors: FakeHypervisor) -> Libvirt:
    found = {one.name: one for one in hypervisors}
    return Libvirt(Config("lab", dict.fromkeys(found, ""), "home"), found)  # type: ignore[arg-type]


A, B = FakeHypervisor("a", (STRANGER,)), FakeHypervisor("b", (ONE,))
FOUND = [
    pytest.param((A, B), "", "libvirt://b/u1", id="by its name, in its cluster"),
    pytest.param((A,), "", None, id="another cluster's machine of that name"),
    pytest.param((A, B), "libvirt://b/u1", "libvirt://b/u1", id="by its ID"),
    pytest.param((A, B), "libvirt://a/u1", "libvirt://a/u1", id="it moved, and keeps its ID"),
    pytest.param((A, B), "libvirt://b/u9", None, id="gone everywhere"),
    pytest.param((FakeHypervisor("a", is_away=True), B), "libvirt://b/u1", "libvirt://b/u1", id="another one is away"),
]  # fmt: skip


@pytest.mark.parametrize(("hypervisors", "provider_id", "found"), FOUND)
async def test_a_machine_is_found(
    hypervisors: tuple[FakeHypervisor, ...], provider_id: str, found: str | None
) -> None:
    machine = await cloud(*hypervisors).find("n1", provider_id)
    assert (machine.provider_id if machine is not None else None) == found


UNSURE = [
    pytest.param((A, FakeHypervisor("b", is_away=True)), "", "cannot ask b", id="one does not answer"),
    pytest.param(
        (A, FakeHypervisor("b", is_away=True)), "libvirt://a/u1", "cannot ask b", id="it may have moved"
    ),
    pytest.param((A,), "libvirt://b/u1", 'hypervisor "b" is not in the configuration', id="not configured"),
    pytest.param((A, B), "kind://b/u1", "is no provider ID of libvirt's", id="another cloud's"),
    pytest.param((B, FakeHypervisor("c", (TWIN,))), "", "are both called so", id="two of one name"),
]


@pytest.mark.parametrize(("hypervisors", "provider_id", "why"), UNSURE)
async def test_that_a_machine_is_gone_is_said_only_when_it_is_certain(
    hypervisors: tuple[FakeHypervisor, ...], provider_id: str, why: str
) -> None:
    with pytest.raises(CloudError, match=why):
        await cloud(*hypervisors).find("n1", provider_id)


async def test_a_zone_is_the_hypervisor_that_has_the_machine() -> None:
    assert await cloud(A, B).zone("n1", "libvirt://a/u1") == Zone("b", "home")
    with pytest.raises(CloudError, match="no hypervisor has its machine"):
        await cloud(A).zone("n1", "")
