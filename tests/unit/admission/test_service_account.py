"""Service accounts of pods: which one, which token, which secrets."""

from typing import Any

import pytest

from kybern.admission.framework import Request
from kybern.admission.plugins import service_account
from kybern.admission.plugins.service_account import MOUNT_PATH, PLUGIN
from kybern.machinery.kind import Raw
from tests.unit.admission.writes import Objects, admitted, named, stored, write

MIRROR = {"annotations": {"kubernetes.io/config.mirror": "x"}}


def account(name: str, **fields: Any) -> tuple[str, Raw]:
    return "serviceaccounts", named(name, "x", **fields)


def pod(**spec: Any) -> Raw:
    spec.setdefault("containers", [{"name": "c"}])
    return named("p", "x", spec=spec)


ACCOUNTS = stored(
    account("default", automountServiceAccountToken=False),
    account("mounts", imagePullSecrets=[{"name": "pull"}]),
    account(
        "limited",
        metadata={"annotations": {"kubernetes.io/enforce-mountable-secrets": "true"}},
        secrets=[{"name": "ok"}],
        imagePullSecrets=[{"name": "pull"}],
    ),
)


def create(body: Raw, lookup: Objects = ACCOUNTS) -> Request:
    return write("CREATE", "pods", body, lookup=lookup)


async def test_the_account_is_the_default_one_under_both_names() -> None:
    body = pod()

    assert await admitted(PLUGIN, create(body)) == ""
    assert body["spec"] == {
        "containers": [{"name": "c"}],
        "serviceAccountName": "default",
        "serviceAccount": "default",
    }


async def test_a_pod_finds_its_token_in_every_container() -> None:
    body = pod(
        serviceAccount="mounts", initContainers=[{"name": "i"}], volumes=[{"name": "v", "emptyDir": {}}]
    )

    await admitted(PLUGIN, create(body))

    spec = body["spec"]
    volume = spec["volumes"][1]
    assert volume["name"].startswith("kube-api-access-")
    assert len(volume["name"]) == len("kube-api-access-") + 5
    assert volume["projected"] == {
        "sources": [
            {"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}},
            {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
            {
                "downwardAPI": {
                    "items": [
                        {
                            "path": "namespace",
                            "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"},
                        }
                    ]
                }
            },
        ],
        "defaultMode": 420,
    }
    mount = {"name": volume["name"], "readOnly": True, "mountPath": MOUNT_PATH}
    assert spec["containers"][0]["volumeMounts"] == spec["initContainers"][0]["volumeMounts"] == [mount]
    assert (spec["serviceAccountName"], spec["serviceAccount"]) == ("mounts", "mounts")
    assert spec["imagePullSecrets"] == [{"name": "pull"}]


@pytest.mark.parametrize(
    "spec",
    [
        {"serviceAccountName": "mounts", "automountServiceAccountToken": False},
        {"serviceAccountName": "default"},
        {
            "serviceAccountName": "mounts",
            "containers": [{"name": "c", "volumeMounts": [{"name": "v", "mountPath": MOUNT_PATH}]}],
        },
    ],
)
async def test_no_token_is_mounted_where_it_is_not_wanted(spec: Raw) -> None:
    body = pod(**spec)

    await admitted(PLUGIN, create(body))

    assert "volumes" not in body["spec"]


async def test_the_pods_wish_for_a_token_wins_over_the_accounts() -> None:
    body = pod(automountServiceAccountToken=True)

    await admitted(PLUGIN, create(body))

    assert len(body["spec"]["volumes"]) == 1


async def test_the_token_volume_of_a_copied_pod_is_used_again() -> None:
    first = pod(serviceAccountName="mounts")
    await admitted(PLUGIN, create(first))
    copy = pod(serviceAccountName="mounts", volumes=first["spec"]["volumes"])

    await admitted(PLUGIN, create(copy))

    assert copy["spec"]["volumes"] == first["spec"]["volumes"]
    assert copy["spec"]["containers"][0]["volumeMounts"][0]["name"] == copy["spec"]["volumes"][0]["name"]


async def test_own_pull_secrets_are_kept() -> None:
    body = pod(serviceAccountName="mounts", imagePullSecrets=[{"name": "own"}])

    await admitted(PLUGIN, create(body))

    assert body["spec"]["imagePullSecrets"] == [{"name": "own"}]


async def test_an_absent_account_is_refused() -> None:
    request = create(pod(serviceAccountName="absent", serviceAccount="other"))

    assert await admitted(PLUGIN, request) == (
        'pods "p" is forbidden: error looking up service account x/absent: serviceaccount "absent" not found'
    )


async def test_the_default_account_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service_account, "PAUSE", 0.0)
    empty = stored()

    assert "default" in await admitted(PLUGIN, create(pod(), empty))
    assert empty.live == 10


async def test_the_cache_may_be_behind() -> None:
    behind = stored(account("mounts"), behind=True)

    assert await admitted(PLUGIN, create(pod(serviceAccountName="mounts"), behind)) == ""


def with_variable(field: str) -> Raw:
    key = {"name": "A", "valueFrom": {"secretKeyRef": {"name": "not", "key": "k"}}}
    return {field: [{"name": "c", "env": [key]}]}


TAIL = "is not allowed because service account limited does not reference that"


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ({"volumes": [{"name": "s", "secret": {"secretName": "ok"}}]}, ""),
        (
            {"volumes": [{"name": "s", "secret": {"secretName": "not"}}]},
            f'volume with secret.secretName="not" {TAIL} secret',
        ),
        (
            with_variable("containers"),
            f'container c with envVar A referencing secret.secretName="not" {TAIL} secret',
        ),
        (
            with_variable("initContainers"),
            f'init container c with envVar A referencing secret.secretName="not" {TAIL} secret',
        ),
        ({"imagePullSecrets": [{"name": "no"}]}, f'imagePullSecrets[0].name="no" {TAIL} imagePullSecret'),
    ],
)
async def test_an_account_may_limit_the_secrets_of_its_pods(spec: Raw, says: str) -> None:
    request = create(pod(serviceAccountName="limited", **spec))

    assert await admitted(PLUGIN, request) == (f'pods "p" is forbidden: {says}' if says else "")


async def test_ephemeral_containers_are_limited_too() -> None:
    body = pod(serviceAccountName="limited", **with_variable("ephemeralContainers"))
    request = write("UPDATE", "pods/ephemeralcontainers", body, body, lookup=ACCOUNTS)

    assert "ephemeral container c with envVar A" in await admitted(PLUGIN, request)


TOKEN = {"name": "v", "projected": {"sources": [{"serviceAccountToken": {"path": "token"}}]}}


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ({}, ""),
        ({"serviceAccountName": "mounts"}, "a mirror pod may not reference service accounts"),
        (
            {"volumes": [{"name": "s", "secret": {"secretName": "s"}}]},
            "a mirror pod may not reference secrets",
        ),
        ({"volumes": [TOKEN]}, "a mirror pod may not use ServiceAccountToken volume projections"),
    ],
)
async def test_mirror_pods_get_and_use_no_account(spec: Raw, says: str) -> None:
    body = pod(**spec)
    body["metadata"] |= MIRROR

    assert await admitted(PLUGIN, create(body)) == (f'pods "p" is forbidden: {says}' if says else "")
    assert body["spec"].get("serviceAccountName") == spec.get("serviceAccountName")


async def test_updates_are_left_alone() -> None:
    body = pod()

    assert await admitted(PLUGIN, write("UPDATE", "pods", body, body)) == ""
    assert body == pod()
