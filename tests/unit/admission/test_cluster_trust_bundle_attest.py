"""Who may publish trust anchors of a signer."""

import copy

import pytest

from kybern.admission.plugins.cluster_trust_bundle_attest import PLUGIN
from kybern.auth.attributes import Attributes, Decision, Verdict
from kybern.machinery.kind import Raw
from tests.unit.admission.writes import admitted, named, write

SIGNED = named("example.com:s:b", spec={"signerName": "example.com/s", "trustBundle": "x"})
OPEN = named("b", spec={"trustBundle": "x"})


def changed(raw: Raw, **parts: Raw) -> Raw:
    found = copy.deepcopy(raw)
    for key, value in parts.items():
        found[key] |= value
    return found


REFUSED = (
    'clustertrustbundles.certificates.k8s.io "example.com:s:b" is forbidden: '
    'user not permitted to attest for signerName "example.com/s"'
)


async def passes(operation: str, new: Raw | None, old: Raw | None, *rights: str) -> bool:
    """Whether a write passes for somebody with these rights, such as ``attest signers/NAME``."""

    def decide(asked: Attributes) -> Decision:
        may = asked.group == "certificates.k8s.io" and f"{asked.verb} {asked.resource}/{asked.name}" in rights
        return Decision(Verdict.ALLOW if may else Verdict.NO_OPINION)

    refusal = await admitted(PLUGIN, write(operation, "clustertrustbundles", new, old, authorize=decide))

    assert refusal in ("", REFUSED)
    return refusal == ""


ATTEST = "attest signers/example.com/s"


@pytest.mark.parametrize(
    ("rights", "may"),
    [
        ((), False),
        ((ATTEST,), True),
        (("attest signers/example.com/*",), True),
        (("attest signers/other.com/*", "sign signers/example.com/s"), False),
    ],
)
async def test_a_signers_bundle_needs_the_right_to_attest(rights: tuple[str, ...], *, may: bool) -> None:
    assert await passes("CREATE", SIGNED, None, *rights) is may
    assert await passes("UPDATE", changed(SIGNED, spec={"trustBundle": "y"}), SIGNED, *rights) is may


async def test_nobodys_bundle_needs_none_and_neither_does_its_end() -> None:
    assert await passes("CREATE", OPEN, None)
    assert await passes("UPDATE", changed(OPEN, spec={"trustBundle": "y"}), OPEN)
    assert await passes("DELETE", None, SIGNED)


@pytest.mark.parametrize(
    ("metadata", "free"),
    [
        ({}, True),
        ({"finalizers": ["example.com/f"], "resourceVersion": "7"}, True),
        ({"ownerReferences": [{"uid": "u"}]}, True),
        ({"labels": {"a": "b"}}, False),
    ],
)
async def test_what_the_garbage_collector_changes_is_free(metadata: Raw, *, free: bool) -> None:
    assert await passes("UPDATE", changed(SIGNED, metadata=metadata), SIGNED) is free
