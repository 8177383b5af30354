"""Acting as a service account of kube-system, as upstream's --use-service-account-credentials.

What holds: a control loop has the rights of its own service account and no others. The account is made when it is
missing; its token is asked for with an hour of life and asked for again after four fifths of it, or when the server
refuses it. Connections are shared, and carry no client certificate: a certificate would say who we are before the token.
"""

import asyncio
import time
from dataclasses import replace as changed
from typing import Any, Self, override

import msgspec

from kybern.api.core_v1 import ServiceAccount
from kybern.api.meta_v1 import ObjectMeta
from kybern.client.kubeconfig import Config
from kybern.client.rest import Client
from kybern.client.verbs import JSON, PATIENCE, Verbs
from kybern.machinery.errors import AlreadyExists, NotFound, Unauthorized

_NAMESPACE = "kube-system"
_LIFE = 3600


def without_identity(config: Config) -> Config:
    """The same server, asked by nobody in particular."""
    return changed(
        config, cert_data=b"", cert_file="", key_data=b"", key_file="", token="", token_file="", username="", password=""
    )  # fmt: skip


class Account(Client):
    """A client of ``shared``'s server that is the service account ``name``. ``master`` may create accounts and tokens."""

    def __init__(self, shared: Client, master: Verbs, name: str) -> None:
        super().__init__(shared.config)
        self._opened = shared._opened  # noqa: SLF001  # one pool of connections for all accounts
        self._master = master
        self._name = name
        self._token = ""
        self._until = 0.0
        self._lock = asyncio.Lock()

    @override
    async def __aenter__(self) -> Self:
        return self

    @override
    async def __aexit__(self, *_problem: object) -> None:
        """The pool belongs to the client that it was taken from."""

    @override
    def authorization(self) -> str:
        return f"Bearer {self._token}"

    @override
    async def request(
        self,
        method: str,
        path: str,
        body: bytes | Any = None,
        timeout: float = PATIENCE,
        *,
        content_type: str = JSON,
        accept: str = JSON,
    ) -> bytes:
        await self._refresh()
        try:
            return await super().request(
                method, path, body, timeout, content_type=content_type, accept=accept
            )
        except Unauthorized:
            # The account may have been deleted and made anew, and its old tokens are worth nothing then.
            self._until = 0.0
            raise

    async def _refresh(self) -> None:
        async with self._lock:
            if time.monotonic() < self._until:
                return
            path = f"/api/v1/namespaces/{_NAMESPACE}/serviceaccounts/{self._name}/token"
            body = {
                "apiVersion": "authentication.k8s.io/v1",
                "kind": "TokenRequest",
                "spec": {"expirationSeconds": _LIFE},
            }
            try:
                answer = await self._master.request("POST", path, body)
            except NotFound:
                await self._create()
                answer = await self._master.request("POST", path, body)
            self._token = msgspec.json.decode(answer)["status"]["token"]
            self._until = time.monotonic() + _LIFE * 0.8

    async def _create(self) -> None:
        made = ServiceAccount(metadata=ObjectMeta(name=self._name, namespace=_NAMESPACE))
        try:
            await self._master.create(made)
        except NotFound:
            # A cluster that is minutes old may not have the namespace yet.
            namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": _NAMESPACE}}
            await self._master.request("POST", "/api/v1/namespaces", namespace)
            await self._master.create(made)
        except AlreadyExists:
            return
