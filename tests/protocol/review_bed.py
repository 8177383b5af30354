"""Servers that an API server asks about tokens and rights: webhooks with certificates, and the kubeconfigs to reach them."""

import json
import ssl
import urllib.error
import urllib.request
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

from kybern.auth.x509 import Authority
from tests.protocol import webhook_server
from tests.protocol.apiserver_bed import Lab, Server, _value
from tests.protocol.webhook_server import Review, Webhooks


def webhooks(lab: Lab) -> Webhooks:
    """A webhook server of an authority of its own, whose certificate lies in the lab's directory."""
    authority = Authority.create("reviewers", datetime.now(UTC))
    pair = authority.issue("reviewer", ips=("127.0.0.1",), server=True, client=False)
    lab.write("reviewers-ca.crt", authority.cert_pem)
    lab.write("reviewer.crt", pair.cert_pem)
    lab.write("reviewer.key", pair.key_pem)
    return webhook_server.start(lab.directory, "reviewer")


def kubeconfig(lab: Lab, url: str, name: str) -> Path:
    path = lab.directory / f"{name}.kubeconfig"
    cluster = {"server": url, "certificate-authority": f"{lab.directory}/reviewers-ca.crt"}
    path.write_text(
        yaml.safe_dump(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "current-context": "review",
                "clusters": [{"name": "reviewer", "cluster": cluster}],
                "users": [{"name": "kube-apiserver", "user": {}}],
                "contexts": [
                    {"name": "review", "context": {"cluster": "reviewer", "user": "kube-apiserver"}}
                ],
            }
        )
    )
    return path


def with_status(review: Review, **status: Any) -> Review:
    return {**{key: review[key] for key in ("apiVersion", "kind")}, "status": status}


def ask(server: Server, token: str, method: str, path: str, body: Any = None) -> tuple[int, Any]:
    """As somebody with a token, or with none, and no certificate."""
    data = json.dumps(body).encode() if body is not None else None
    headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
    request = urllib.request.Request(server.url + path, data, headers, method=method)
    plain = ssl.create_default_context(cafile=str(server.directory / "ca.crt"))
    try:
        with urllib.request.urlopen(request, timeout=30, context=plain) as answer:
            return answer.status, _value(answer.read())
    except urllib.error.HTTPError as refused:
        with refused:
            return refused.code, _value(refused.read())


def who(server: Server, token: str) -> tuple[int, Any]:
    """Who the server says that somebody with a token is."""
    body = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
    code, found = ask(server, token, "POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", body)
    return code, found["status"]["userInfo"] if code == 201 else found


def metric(server: Server, start: str) -> float:
    """The sum of the values of all lines that start so."""
    _, text = server.ask("GET", "/metrics")
    return sum(float(line.rpartition(" ")[2]) for line in str(text).splitlines() if line.startswith(start))
