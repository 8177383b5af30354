"""Requests as conformance tests send them: any method, media type and field, and watches that are read as they come."""

import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from tests.protocol.apiserver_bed import Server

MERGE = "application/merge-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"
JSON_PATCH = "application/json-patch+json"
APPLY = "application/apply-patch+yaml"

type Raw = dict[str, Any]


@dataclass(frozen=True)
class Answer:
    """What came back: ``body`` is JSON where it was JSON, else text."""

    code: int
    body: Any
    media: str

    def ok(self) -> Any:
        """The body of an answer that must be a success."""
        assert self.code in (200, 201, 202), (self.code, self.body)
        return self.body


@dataclass(frozen=True)
class Api:
    """One server, and who asks it. Queries are keyword arguments."""

    server: Server
    identity: str = "admin"

    def send(
        self,
        method: str,
        path: str,
        body: Any = None,
        media: str = "application/json",
        accept: str = "application/json",
        **query: str,
    ) -> Answer:
        data = body.encode() if isinstance(body, str) else None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(
            f"{self.server.url}{path}{_query(query)}",
            data,
            {"Content-Type": media, "Accept": accept},
            method=method,
        )
        try:
            with urllib.request.urlopen(
                request, timeout=20, context=self.server.context(self.identity)
            ) as answer:
                return Answer(answer.status, _value(answer.read()), answer.headers["Content-Type"] or "")
        except urllib.error.HTTPError as refused:
            with refused:
                return Answer(refused.code, _value(refused.read()), refused.headers["Content-Type"] or "")

    def get(self, path: str, **query: str) -> Any:
        return self.send("GET", path, **query).ok()

    def settled(self, path: str, seconds: float = 60) -> Raw:
        """An object that the server itself writes no more: of a flow schema it first says whether its level is there."""
        deadline = time.monotonic() + seconds
        found: Raw = self.get(path)
        while "/flowschemas/" in path and time.monotonic() < deadline:
            if any(one["type"] == "Dangling" for one in found.get("status", {}).get("conditions", ())):
                break
            time.sleep(0.02)
            found = self.get(path)
        return found

    def create(self, path: str, body: Raw, **query: str) -> Any:
        return self.send("POST", path, body, **query).ok()

    def update(self, path: str, body: Raw, **query: str) -> Any:
        return self.send("PUT", path, body, **query).ok()

    def patch(self, path: str, body: Any, media: str = MERGE, **query: str) -> Any:
        return self.send("PATCH", path, body, media, **query).ok()

    def delete(self, path: str, **query: str) -> Any:
        return self.send("DELETE", path, **query).ok()

    def code(self, path: str) -> int:
        return self.send("GET", path).code

    @contextmanager
    def watch(self, path: str, **query: str) -> Iterator[Iterator[tuple[str, Raw]]]:
        """Events (type, object) as they come. Reading waits 20 s at most, then raises TimeoutError."""
        with self._opened(f"{self.server.url}{path}{_query({'watch': '1', **query})}") as answer:
            yield ((event["type"], event["object"]) for event in map(json.loads, answer))

    def _opened(self, url: str) -> Any:
        """A stream; a server whose cache is not filled yet is asked again, as all clients do that are told when."""
        for _ in range(20):
            try:
                return urllib.request.urlopen(url, timeout=20, context=self.server.context(self.identity))
            except urllib.error.HTTPError as refused:
                with refused:
                    if not (seconds := refused.headers["Retry-After"]):
                        raise
                    time.sleep(float(seconds))
        raise AssertionError(f"{url} is not served within 20 tries")

    def changed(self, path: str, change: Callable[[Raw], Raw]) -> Raw:
        """Replace an object by what ``change`` makes of it; again when somebody else (a loop) was faster."""
        while True:
            answer = self.send("PUT", path, change(self.get(path)))
            if answer.code != 409:
                found: Raw = answer.ok()
                return found

    def namespace(self, name: str, **labels: str) -> str:
        """Make a namespace with the account that pods need, and give its path."""
        self.create("/api/v1/namespaces", {"metadata": {"name": name, "labels": labels}})
        self.create(f"/api/v1/namespaces/{name}/serviceaccounts", {"metadata": {"name": "default"}})
        return f"/api/v1/namespaces/{name}"


def _query(query: dict[str, str]) -> str:
    return f"?{urlencode(query)}" if query else ""


def _value(body: bytes) -> Any:
    try:
        return json.loads(body)
    except ValueError:
        return body.decode()


def names(found: Raw) -> list[str]:
    """The names of a list's items."""
    return [item["metadata"]["name"] for item in found["items"]]
