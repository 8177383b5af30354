"""The trust bundle of the API server's own authority."""

from typing import Any

import pytest

from kybern.api.certificates_v1beta1 import ClusterTrustBundle, ClusterTrustBundleSpec
from kybern.api.core_v1 import Namespace
from kybern.api.meta_v1 import ObjectMeta
from kybern.controllers import clustertrustbundle_publisher as publisher
from kybern.loop.controller import Create, Delete, Key, Patch
from kybern.loop.settings import Settings
from tests.unit.controllers.making import every, view

CONTROLLER = publisher.controller(Settings(root_ca="CA"))
HOME = Key("", "kube-system")
# sha256 of "CA", its first twelve bytes
NAME = "kubernetes.io:kube-apiserver-serving:4b650e5c4785025dee7bd65e"
SIGNER = "kubernetes.io/kube-apiserver-serving"


def bundle(name: str = NAME, text: str = "CA", signer: str = SIGNER) -> ClusterTrustBundle:
    spec = ClusterTrustBundleSpec(signer_name=signer, trust_bundle=text)
    return ClusterTrustBundle(metadata=ObjectMeta(name=name, uid=f"uid-{name}"), spec=spec)


def actions(*found: ClusterTrustBundle) -> list[Any]:
    home = Namespace(metadata=ObjectMeta(name="kube-system"))
    state = CONTROLLER.observe(view(CONTROLLER, home, *found), HOME)
    assert state is not None
    return every(CONTROLLER.diff(state))


def test_the_authority_is_published_under_the_name_of_its_content() -> None:
    (made,) = actions()

    assert isinstance(made, Create)
    assert made.object == ClusterTrustBundle(metadata=ObjectMeta(name=NAME), spec=bundle().spec)


def test_what_is_published_rests() -> None:
    assert actions(bundle()) == []


def test_what_somebody_changed_is_put_right() -> None:
    (found,) = actions(bundle(text="other"))

    assert isinstance(found, Patch)
    assert found.new == bundle()


def test_others_of_the_signer_go_once_this_one_is_there() -> None:
    old, others = (
        bundle("kubernetes.io:kube-apiserver-serving:old", "OLD"),
        bundle("b", "OLD", "example.com/s"),
    )

    create, delete = actions(old, others)

    assert isinstance(create, Create)
    assert delete == Delete(old)


@pytest.mark.parametrize(("signer", "keys"), [(SIGNER, [HOME]), ("example.com/s", []), ("", [])])
def test_bundles_of_the_signer_wake_it(signer: str, keys: list[Key]) -> None:
    item = bundle(signer=signer)

    assert list(publisher.of_the_signer(item, view(CONTROLLER, item))) == keys


def test_no_other_namespace_is_its_business() -> None:
    assert CONTROLLER.observe(view(CONTROLLER), Key("", "default")) is None
