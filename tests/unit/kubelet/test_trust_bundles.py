"""Trust anchors for pods: what bundles become, which are chosen, and when the cluster is asked for them."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import pytest

from kybern.api.certificates_v1alpha1 import ClusterTrustBundle as AlphaBundle
from kybern.api.certificates_v1beta1 import ClusterTrustBundle, ClusterTrustBundleSpec
from kybern.api.core_v1 import (
    ClusterTrustBundleProjection,
    PodCertificateProjection,
    PodSecurityContext,
    ProjectedVolumeSource,
    Volume,
    VolumeProjection,
)
from kybern.api.meta_v1 import LabelSelector, LabelSelectorRequirement, ObjectMeta
from kybern.client.verbs import Verbs
from kybern.client.watch import Added, Deleted, Modified, Synced
from kybern.kubelet.fields import Place
from kybern.kubelet.objects import ApiObjects
from kybern.kubelet.trust_bundles import Bundle, TrustBundles, normal
from kybern.kubelet.volumes import projected, tmpfs
from kybern.kubelet.volumes.plugin import CannotMount, Objects, Site
from kybern.machinery.errors import ApiError, NotFound, ServiceUnavailable
from kybern.machinery.pem import Block, decode, encode
from tests.unit.kubelet.making import container, pod

SALT = b"salt"
BETA, ALPHA = "/apis/certificates.k8s.io/v1beta1", "/apis/certificates.k8s.io/v1alpha1"
EVERY = LabelSelector()


def text(*parts: str) -> str:
    return "".join(encode(Block("CERTIFICATE", part.encode())) for part in parts)


def said(found: str) -> set[str]:
    return {block.data.decode() for block in decode(found)}


def bundle(name: str, *parts: str, signer: str = "", **labels: str) -> ClusterTrustBundle:
    spec = ClusterTrustBundleSpec(signer_name=signer, trust_bundle=text(*parts))
    return ClusterTrustBundle(metadata=ObjectMeta(name=name, labels=labels), spec=spec)


SIGNED = (
    bundle("one", "a", "b", signer="s.io/s", tier="gold"),
    bundle("two", "b", "c", signer="s.io/s", tier="tin"),
    bundle("else", "z", signer="s.io/t", tier="gold"),
    bundle("none", "n"),
)


def test_certificates_are_there_once_each_in_the_same_order_whoever_gives_them() -> None:
    ordinary = normal([text("a", "b"), text("b", "c")], SALT)

    assert sorted(block.data for block in decode(ordinary)) == [b"a", b"b", b"c"]
    assert normal([text("c", "a"), text("b")], SALT) == ordinary
    assert len({normal([text(*"abcdefgh")], bytes([salt])) for salt in range(8)}) > 1


def test_all_but_certificates_is_left_out() -> None:
    headed = text("a").replace("-----\n", "-----\nKey: value\n\n", 1)

    assert normal([f"words\n{headed}more words"], SALT) == text("a")


def known(*bundles: ClusterTrustBundle) -> TrustBundles:
    """As they are once the first list is in."""
    found = TrustBundles(cast("Verbs", Server((BETA,))), patience=0.01)
    found.apply(Synced(bundles))
    return found


class Server:
    """Serves some versions; a watch of them begins with what was put there."""

    def __init__(self, versions: tuple[str, ...] = (), fails: ApiError | None = None) -> None:
        self.versions = versions
        self.fails = fails
        self.asked: list[str] = []
        self.listed: list[type[Bundle]] = []
        self.items: tuple[ClusterTrustBundle, ...] = ()

    async def request(self, _method: str, path: str) -> bytes:
        self.asked.append(path)
        if self.fails is not None:
            raise self.fails
        if path not in self.versions:
            raise NotFound("the server could not find the requested resource")
        resource = {"name": "clustertrustbundles", "kind": "ClusterTrustBundle", "verbs": ["list", "watch"]}
        return json.dumps({"groupVersion": path.removeprefix("/apis/"), "resources": [resource]}).encode()

    async def list(self, kind: type[Bundle], *_where: str) -> tuple[tuple[ClusterTrustBundle, ...], str]:
        self.listed.append(kind)
        return self.items, "1"

    @asynccontextmanager
    async def stream(self, _path: str, **_how: Any) -> AsyncIterator[AsyncIterator[bytes]]:
        async def silent() -> AsyncIterator[bytes]:
            await asyncio.Event().wait()
            yield b""

        yield silent()


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        (ClusterTrustBundleProjection(name="one"), {"a", "b"}),
        (ClusterTrustBundleProjection(name="none"), {"n"}),
        (ClusterTrustBundleProjection(name="gone", optional=True), set()),
        (ClusterTrustBundleProjection(signer_name="s.io/s", label_selector=EVERY), {"a", "b", "c"}),
        (
            ClusterTrustBundleProjection(
                signer_name="s.io/s", label_selector=LabelSelector(match_labels={"tier": "gold"})
            ),
            {"a", "b"},
        ),
        (
            ClusterTrustBundleProjection(
                signer_name="s.io/s",
                label_selector=LabelSelector(
                    match_expressions=(LabelSelectorRequirement("tier", "NotIn", ("gold",)),)
                ),
            ),
            {"b", "c"},
        ),
        (ClusterTrustBundleProjection(signer_name="s.io/s", optional=True), set()),
        (ClusterTrustBundleProjection(signer_name="s.io/x", label_selector=EVERY, optional=True), set()),
    ],
)
async def test_bundles_are_chosen_by_name_or_by_signer_and_labels(
    wanted: ClusterTrustBundleProjection, found: set[str]
) -> None:
    assert said(await known(*SIGNED).anchors(wanted)) == found


@pytest.mark.parametrize(
    ("wanted", "why"),
    [
        (
            ClusterTrustBundleProjection(name="gone"),
            'clustertrustbundle.certificates.k8s.io "gone" not found',
        ),
        (
            ClusterTrustBundleProjection(signer_name="s.io/s"),
            "combination of signerName and labelSelector matched zero ClusterTrustBundles",
        ),
        (
            ClusterTrustBundleProjection(
                signer_name="s.io/s", label_selector=LabelSelector(match_labels={"tier": "lead"})
            ),
            "combination of signerName and labelSelector matched zero ClusterTrustBundles",
        ),
        (ClusterTrustBundleProjection(), "requires either name or signerName to be set"),
        (
            ClusterTrustBundleProjection(
                signer_name="s.io/s",
                label_selector=LabelSelector(
                    match_labels={f"key-{number}": "v" * 63 for number in range(2000)}
                ),
            ),
            r"label selector length \(\d+\) is larger than 102400",
        ),
    ],
)
async def test_what_is_not_there_holds_the_pod_up(wanted: ClusterTrustBundleProjection, why: str) -> None:
    with pytest.raises(CannotMount, match=why):
        await known(*SIGNED).anchors(wanted)


async def test_a_change_shows_at_the_next_look() -> None:
    found = known(bundle("b", "old"))
    wanted = ClusterTrustBundleProjection(name="b", optional=True)
    assert said(await found.anchors(wanted)) == {"old"}

    found.apply(Modified(bundle("b", "new"), bundle("b", "old")))
    assert said(await found.anchors(wanted)) == {"new"}
    found.apply(Deleted(bundle("b", "new")))
    assert await found.anchors(wanted) == ""
    found.apply(Added(bundle("b", "again")))
    assert said(await found.anchors(wanted)) == {"again"}


@pytest.mark.parametrize(
    ("versions", "asked", "kind"),
    [((BETA, ALPHA), [BETA], ClusterTrustBundle), ((ALPHA,), [BETA, ALPHA], AlphaBundle)],
)
async def test_the_newest_version_is_watched_and_only_when_somebody_asks(
    versions: tuple[str, ...], asked: list[str], kind: type[Bundle]
) -> None:
    server = Server(versions)
    server.items = SIGNED
    bundles = TrustBundles(cast("Verbs", server))
    running = asyncio.create_task(bundles.run())
    await asyncio.sleep(0)
    assert server.asked == []

    found = await bundles.anchors(ClusterTrustBundleProjection(name="one"))
    await bundles.anchors(ClusterTrustBundleProjection(name="two"))
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)

    assert said(found) == {"a", "b"}
    assert server.asked == asked
    assert server.listed == [kind]


@pytest.mark.parametrize(
    ("server", "why"),
    [
        (Server(), "the API server serves no version of ClusterTrustBundle; switch it on"),
        (Server(fails=ServiceUnavailable("away")), "cannot find out whether .* are served: away"),
        (Server((BETA,)), "ClusterTrustBundle informer has not yet synced"),
    ],
)
async def test_what_cannot_be_known_yet_is_tried_again(server: Server, why: str) -> None:
    bundles = TrustBundles(cast("Verbs", server), patience=0.01)

    for _ in range(2):
        with pytest.raises(CannotMount, match=why):
            await bundles.anchors(ClusterTrustBundleProjection(name="one"))


async def test_an_api_that_is_switched_on_later_is_found() -> None:
    server = Server()
    bundles = TrustBundles(cast("Verbs", server))
    running = asyncio.create_task(bundles.run())
    with pytest.raises(CannotMount):
        await bundles.anchors(ClusterTrustBundleProjection(name="one"))
    server.versions, server.items = (BETA,), SIGNED

    assert said(await bundles.anchors(ClusterTrustBundleProjection(name="one"))) == {"a", "b"}
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


@pytest.mark.parametrize(
    ("client", "why"),
    [(None, "in static kubelet mode"), (Server(), "feature gate ClusterTrustBundleProjection is off")],
)
async def test_a_kubelet_without_the_gate_or_an_api_says_so(client: Server | None, why: str) -> None:
    objects = ApiObjects(cast("Verbs | None", client))

    with pytest.raises(CannotMount, match=f"ClusterTrustBundle projection is not supported.*{why}"):
        await objects.trust_anchors(ClusterTrustBundleProjection(name="b"))


class Given:
    """Objects of which a volume asks only for anchors."""

    async def trust_anchors(self, wanted: ClusterTrustBundleProjection) -> str:
        return f"anchors of {wanted.name}"


async def _no_mount(directory: Path) -> None:
    directory.mkdir(parents=True, exist_ok=True)


def site(directory: Path, *sources: VolumeProjection, **fields: Any) -> Site:
    volume = Volume(name="v", projected=ProjectedVolumeSource(default_mode=0o640, sources=sources))
    return Site(pod(container(), **fields), volume, directory, cast("Objects", Given()), Place())


@pytest.mark.parametrize(
    ("fields", "mode"),
    [({}, 0o640), ({"security_context": PodSecurityContext(run_as_user=0)}, 0o600)],
)
async def test_a_bundle_is_a_file_at_its_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fields: dict[str, Any], mode: int
) -> None:
    monkeypatch.setattr(tmpfs, "mount", _no_mount)
    source = ClusterTrustBundleProjection(name="b", path="certs/ca.pem")

    made = await projected.PLUGIN.set_up(
        site(tmp_path / "v", VolumeProjection(cluster_trust_bundle=source), **fields)
    )

    assert (made / "certs/ca.pem").read_text() == "anchors of b"
    assert (made / "certs/ca.pem").stat().st_mode & 0o777 == mode


@pytest.mark.parametrize(
    ("source", "why"),
    [
        (
            VolumeProjection(cluster_trust_bundle=ClusterTrustBundleProjection(name="b", path="../x")),
            "invalid path: ../x",
        ),
        (
            VolumeProjection(pod_certificate=PodCertificateProjection(signer_name="a.b/c")),
            "podCertificate source: pod certificates are not supported",
        ),
        (VolumeProjection(), "a source that is not supported"),
    ],
)
async def test_a_source_that_cannot_be_had_is_told(
    tmp_path: Path, source: VolumeProjection, why: str
) -> None:
    with pytest.raises(CannotMount, match=why):
        await projected.PLUGIN.set_up(site(tmp_path / "v", source))
