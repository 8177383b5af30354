"""A namespace with webhooks for it alone, and what tests say of rules, objects and answers."""

import itertools
import time
from base64 import b64encode
from collections.abc import Callable
from typing import Any

from tests.protocol.apiserver_bed import Server
from tests.protocol.webhook_server import Review, Webhooks, deny, response

REGISTRATION = "/apis/admissionregistration.k8s.io/v1"
MUTATING, VALIDATING = "MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"
_NUMBERS = itertools.count()


class Place:
    """A namespace, and webhooks for it alone."""

    def __init__(self, server: Server, hooks: Webhooks) -> None:
        self.server = server
        self.hooks = hooks
        self.name = f"hooked-{next(_NUMBERS)}"
        self.labels = {"hooked": self.name}
        self.made: list[str] = []
        metadata = {"name": self.name, "labels": self.labels}
        assert server.ask("POST", "/api/v1/namespaces", {"metadata": metadata})[0] == 201
        account = {"metadata": {"name": "default"}, "automountServiceAccountToken": False}
        assert server.ask("POST", f"{self.path('serviceaccounts')}", account)[0] == 201

    def path(self, plural: str, prefix: str = "/api/v1") -> str:
        return f"{prefix}/namespaces/{self.name}/{plural}"

    def hook(self, path: str, answer: Any, name: Any = "", **more: Any) -> Review:
        """A webhook at a path of its own, which answers as told."""
        url = self.hooks.on(f"/{self.name}{path}", answer)
        found = {
            "name": name or f"{path[1:]}.example.com",
            "clientConfig": {"url": url, "caBundle": self.authority},
            "rules": [rule("configmaps")],
            "sideEffects": "None",
            "admissionReviewVersions": ["v1"],
            "namespaceSelector": {"matchLabels": self.labels},
            "timeoutSeconds": 5,
        }
        return {**found, **more}

    @property
    def authority(self) -> str:
        return b64encode((self.server.directory / "hooks-ca.crt").read_bytes()).decode()

    def seen(self, path: str) -> list[Review]:
        return self.hooks.requests(f"/{self.name}{path}")

    def configure(self, kind: str, *webhooks: Review, name: str = "") -> str:
        """A configuration that is in force: a marker of its own says so."""
        name = name or f"{self.name}-{len(self.made)}"
        marker = self.hook(
            f"/marker-{len(self.made)}",
            deny("marked"),
            objectSelector={"matchLabels": {"marker": name}},
            namespaceSelector={"matchLabels": {"kubernetes.io/metadata.name": "default"}},
        )
        body = {"kind": kind, "metadata": {"name": name}, "webhooks": [marker, *webhooks]}
        plural = f"{kind.lower()}s"
        made = self.server.ask("POST", f"{REGISTRATION}/{plural}", body)
        assert made[0] == 201, made
        self.made.append(f"{REGISTRATION}/{plural}/{name}")
        until(lambda: self.marked(name))
        return f"{REGISTRATION}/{plural}/{name}"

    def marked(self, name: str) -> bool:
        map_ = config_map("marker", labels={"marker": name})
        return self.server.ask("POST", "/api/v1/namespaces/default/configmaps?dryRun=All", map_)[0] == 400

    def create(self, map_: Review, query: str = "") -> tuple[int, Any]:
        return self.server.ask("POST", f"{self.path('configmaps')}{query}", map_)


def until(holds: Callable[[], bool], seconds: float = 60) -> float:
    began = time.monotonic()
    while not holds():
        assert time.monotonic() < began + seconds
        time.sleep(0.02)
    return time.monotonic() - began


def rule(plural: str, *operations: str, group: str = "", version: str = "*") -> Review:
    return {
        "operations": list(operations) or ["CREATE"],
        "apiGroups": [group],
        "apiVersions": [version],
        "resources": [plural],
    }


def config_map(name: str, labels: Any = None, **data: str) -> Review:
    return {
        "kind": "ConfigMap",
        "apiVersion": "v1",
        "metadata": {"name": name, "labels": labels or {}},
        "data": data,
    }


def adds(path: str, value: Any) -> Callable[[Review], Review]:
    return lambda review: response(review, patch=[{"op": "add", "path": path, "value": value}])
