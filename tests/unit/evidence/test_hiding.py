"""What a report must not hold, and what it has to keep."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kybern.evidence.hiding import HIDDEN, in_object, in_text

JWT = "eyJhbGciOiJSUzI1NiIs.eyJpc3MiOiJrdWJlcm5ldGVz.c2lnbmF0dXJlLWhlcmU"
KEY = "-----BEGIN EC PRIVATE KEY-----\nMHcCAQEEIB7q\nx9+/AA==\n-----END EC PRIVATE KEY-----"


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        (f"Authorization: Bearer {JWT}", JWT),
        ("Authorization: Bearer 0123456789abcdef", "0123456789abcdef"),
        ("authorization: basic dXNlcjpwYXNzd29yZA==", "dXNlcjpwYXNzd29yZA"),
        (f"a token alone {JWT} in a line", JWT),
        ("kubeadm join --token abcdef.0123456789abcdef", "abcdef.0123456789abcdef"),
        (f"before\n{KEY}\nafter", "MHcCAQEEIB7q"),
        ("-----BEGIN PRIVATE KEY-----\nMHcCAQEEIB7q cut off", "MHcCAQEEIB7q"),
        ("postgres://admin:hunter22@db/x", "hunter22"),
        ("password=hunter22 next", "hunter22"),
        ("--db-password hunter22", "hunter22"),
        ('"password": "hunter 22", "x": 1', "hunter 22"),
        ("client-key-data: LS0tLS1CRUdJ", "LS0tLS1CRUdJ"),
        ("auth_pass 1f2e3d4c", "1f2e3d4c"),
        ("DB_PASSWORD='hunter22'", "hunter22"),
        ("aws_secret_access_key = wJalrXUtnFEMI", "wJalrXUtnFEMI"),
    ],
)
def test_what_looks_like_a_secret_is_hidden(text: str, secret: str) -> None:
    found = in_text(text)

    assert secret not in found
    assert HIDDEN in found


@pytest.mark.parametrize(
    "text",
    [
        "E1127 reflector: cannot list *v1.Secret: forbidden",
        "secrets/default-token-x is not found",
        "--tls-private-key-file=/etc/kubernetes/pki/apiserver.key",
        "--bootstrap-kubeconfig=/etc/kubernetes/bootstrap.conf",
        "https://10.42.0.10:6443/api/v1/nodes",
        "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        "kube-system/kube-controller-manager became leader 3e1b6f5c",
        "token-controller started",
    ],
)
def test_what_explains_a_fault_is_kept(text: str) -> None:
    assert in_text(text) == text


def test_objects_lose_values_and_keep_names() -> None:
    pod = {
        "metadata": {
            "name": "p",
            "managedFields": [{"manager": "kubectl"}],
            "annotations": {
                "kubectl.kubernetes.io/last-applied-configuration": "{password}",
                "checked": f"by {JWT}",
            },
        },
        "spec": {
            "containers": [
                {
                    "image": "i",
                    "command": ["sh", "-c", "curl -u me:pass"],
                    "env": [
                        {"name": "A", "value": "s3cret"},
                        {"name": "B", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}},
                    ],
                }
            ]
        },
    }
    assert in_object({"data": {"k": "c2VjcmV0"}}) == {"data": {"k": HIDDEN}}
    assert in_object(pod) == {
        "metadata": {"name": "p", "annotations": {"checked": f"by {HIDDEN}"}},
        "spec": {
            "containers": [
                {
                    "image": "i",
                    "command": [HIDDEN] * 3,
                    "env": [
                        {"name": "A", "value": HIDDEN},
                        {"name": "B", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}},
                    ],
                }
            ]
        },
    }


def test_headers_that_probes_and_hooks_send_lose_their_values() -> None:
    asked = {"path": "/", "httpHeaders": [{"name": "Authorization", "value": "ApiKey hunter22"}]}
    hidden = {"path": "/", "httpHeaders": [{"name": "Authorization", "value": HIDDEN}]}
    one = {"livenessProbe": {"httpGet": asked}, "lifecycle": {"preStop": {"httpGet": asked}}}
    assert in_object(one) == {
        "livenessProbe": {"httpGet": hidden},
        "lifecycle": {"preStop": {"httpGet": hidden}},
    }


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda x: st.lists(x) | st.dictionaries(st.text(), x),
    )
)
def test_any_object_passes_and_hiding_twice_changes_nothing_more(given: Any) -> None:
    once = in_object(given)
    assert in_object(once) == once
