"""ClusterTrustBundles on a cluster that had them off: the how-to's pod gets its certificates, and follows a change."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from kybern.auth.x509 import Authority
from tests.cluster.conftest import Lab

# Two deploys that restart the API servers, and a kubelet that looks again within a minute and a half.
pytestmark = [pytest.mark.operations, pytest.mark.timeout(900)]

SIGNER, BUNDLE = "example.com/internal", "example.com:internal:2026"
SERVING = "kubernetes.io/kube-apiserver-serving"


@pytest.fixture(scope="module")
def switched_on(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    lab.deploy_with(tmp_path_factory.mktemp("trust"), trust_bundles=True)
    yield lab
    lab.kubectl("delete", "clustertrustbundle", BUNDLE, check=False)
    lab.kybern("deploy", lab.cluster.name)


def certificate(name: str) -> str:
    return Authority.create(name, datetime.now(UTC)).cert_pem.decode()


def bundle(text: str) -> dict[str, Any]:
    return {
        "apiVersion": "certificates.k8s.io/v1beta1",
        "kind": "ClusterTrustBundle",
        "metadata": {"name": BUNDLE, "labels": {"stage": "live"}},
        "spec": {"signerName": SIGNER, "trustBundle": text},
    }


def client(*sources: dict[str, Any]) -> dict[str, Any]:
    """The pod that the how-to shows."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "client"},
        "spec": {
            "terminationGracePeriodSeconds": 0,
            "containers": [
                {
                    "name": "c",
                    "image": "busybox:1.36",
                    "command": ["sleep", "inf"],
                    "volumeMounts": [{"name": "trust", "mountPath": "/trust"}],
                }
            ],
            "volumes": [
                {"name": "trust", "projected": {"sources": [{"clusterTrustBundle": one} for one in sources]}}
            ],
        },
    }


def test_a_pod_has_the_certificates_of_today(switched_on: Lab, namespace: str) -> None:
    lab, first, second = switched_on, certificate("first"), certificate("second")

    def read(name: str) -> str:
        return lab.kubectl("exec", "-n", namespace, "client", "--", "cat", f"/trust/{name}")

    lab.apply(namespace, bundle(first))
    lab.apply(
        namespace,
        client(
            {
                "path": "internal.pem",
                "signerName": SIGNER,
                "labelSelector": {"matchLabels": {"stage": "live"}},
            },
            {"path": "other.pem", "name": "other", "optional": True},
            # The controller manager publishes the authority of the API servers.
            {"path": "cluster.pem", "signerName": SERVING, "labelSelector": {}},
        ),
    )
    lab.kubectl("wait", "-n", namespace, "--for=condition=Ready", "pod/client", "--timeout=90s", seconds=120)

    assert read("internal.pem").strip() == first.strip()
    assert read("other.pem") == ""
    authority = Path(f"{lab.kubeconfig.parent}/pki/ca.crt").read_text()
    assert read("cluster.pem").strip() == authority.strip()

    lab.apply(namespace, bundle(second))
    lab.eventually(
        "the pod has the new one", lambda: read("internal.pem").strip() == second.strip(), seconds=120
    )


def test_who_may_not_attest_for_a_signer_writes_no_bundle_of_it(switched_on: Lab) -> None:
    refused = switched_on.kubectl(
        "create", "--as=somebody", "-f", "-", check=False, stdin=json.dumps(bundle(certificate("mine")))
    )

    assert "Forbidden" in refused
