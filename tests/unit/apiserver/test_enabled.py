"""What --runtime-config and feature gates have served."""

import pytest

from kybern.api.kinds import GATES, KINDS, OPTIONAL
from kybern.apiserver.bootstrap import wanted
from kybern.apiserver.config import switches
from kybern.apiserver.enabled import served, ungated

GATE = "StorageVersionMigrator"
BUNDLE_GATE = "ClusterTrustBundle"
MIGRATION = "storagemigration.k8s.io/v1beta1"
BETA, ALPHA = "certificates.k8s.io/v1beta1", "certificates.k8s.io/v1alpha1"


@pytest.mark.parametrize(
    ("text", "on"),
    [
        ("", ()),
        (f"{MIGRATION}=true", (MIGRATION,)),
        (MIGRATION, (MIGRATION,)),
        (f"{MIGRATION}=false", ()),
        (f"{MIGRATION}/storageversionmigrations=true", (MIGRATION,)),
        (f"{BETA}/clustertrustbundles=true", (BETA,)),
        (f"{BETA}/clustertrustbundles=true,{BETA}/podcertificaterequests=false", (BETA,)),
        (f"{ALPHA}=true", (ALPHA,)),
        ("api/all=true", (BETA, ALPHA, MIGRATION)),
        ("api/beta=true", (BETA, MIGRATION)),
        ("api/alpha=true,api/ga=true", (ALPHA,)),
        (f"api/beta=true,{MIGRATION}=false", (BETA,)),
        (f"api/beta=false,{MIGRATION}=1", (MIGRATION,)),
        ("v1=true,apps/v1,api/legacy=false,resource.k8s.io/v1beta1=false", ()),
    ],
)
def test_what_is_switched_on_is_served_beside_the_rest(text: str, on: tuple[str, ...]) -> None:
    found = served(switches(text), {GATE, BUNDLE_GATE})

    assert found[: len(KINDS)] == KINDS
    assert tuple(kind.api_version for kind in found[len(KINDS) :]) == on


def test_without_its_feature_gate_it_is_not_served_and_that_is_told() -> None:
    asked = switches(f"{MIGRATION}=true")

    assert served(asked, ()) == KINDS
    assert list(ungated(asked, ())) == [(("storagemigration.k8s.io", "v1beta1"), GATE)]
    assert list(ungated(asked, {GATE})) == []


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("example.com/v1=true", "unknown api groups example.com"),
        ("apps/v7=true", "group version apps/v7 that has not been registered"),
        ("nothing=true", "runtime-config invalid key nothing"),
        (f"{MIGRATION}=perhaps", f"invalid value of {MIGRATION}: perhaps"),
        ("resource.k8s.io/v1beta1=true", "cannot serve resource.k8s.io/v1beta1: it is not in this program"),
        (
            f"{BETA}/podcertificaterequests=true",
            f"cannot serve {BETA}/podcertificaterequests: it is not in this program",
        ),
        ("apps/v1=false", "cannot switch off apps/v1"),
        ("v1=false", "cannot switch off v1"),
        ("api/ga=false", "cannot switch off"),
    ],
)
def test_what_cannot_be_had_is_refused(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        served(switches(text), {GATE})


def test_every_optional_kind_has_its_gate() -> None:
    assert {(kind.group, kind.version) for kind in OPTIONAL} == set(GATES)


def test_the_migrator_has_a_role_only_with_its_gate() -> None:
    name = "system:controller:storage-version-migrator-controller"
    usual = [(one.plural, one.name) for one in wanted()]
    gated = [(one.plural, one.name, one.object) for one in wanted({GATE})]

    added = [one for one in gated if one[:2] not in usual]
    assert [one[:2] for one in added] == [("clusterroles", name), ("clusterrolebindings", name)]
    assert len(gated) == len(usual) + 2
    assert all("gate" not in one[2] for one in added)


def test_trust_bundles_bring_roles_and_a_right_of_every_node() -> None:
    publisher = "system:controller:kube-apiserver-serving-clustertrustbundle-publisher"
    reader = "system:cluster-trust-bundle-discovery"
    usual = {(one.plural, one.name): one.object for one in wanted()}
    gated = {(one.plural, one.name): one.object for one in wanted({BUNDLE_GATE})}

    added = gated.keys() - usual.keys()
    assert added == {
        (plural, name) for plural in ("clusterroles", "clusterrolebindings") for name in (publisher, reader)
    }
    changed = {key for key, value in usual.items() if gated[key] != value}
    assert changed == {("clusterroles", "system:node")}
    rule = {
        "verbs": ["get", "list", "watch"],
        "apiGroups": ["certificates.k8s.io"],
        "resources": ["clustertrustbundles"],
    }
    node = ("clusterroles", "system:node")
    assert gated[node]["rules"] == [*usual[node]["rules"], rule]
    assert gated["clusterroles", reader]["rules"] == [rule]
    assert gated["clusterrolebindings", reader]["subjects"] == [
        {"kind": "Group", "apiGroup": "rbac.authorization.k8s.io", "name": "system:serviceaccounts"}
    ]
