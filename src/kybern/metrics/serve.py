"""metrics.k8s.io over HTTP, for the API server alone.

What holds: only who presents the front proxies' certificate is answered, and that is the API server, which has
authenticated and authorized whoever asked it (docs/adr/0017). So nothing here knows users or rights.
"""

import re
from collections.abc import Callable, Iterable
from typing import Any

from aiohttp import web

from kybern.api.core_v1 import Node
from kybern.client.cache import Cache
from kybern.daemon import health
from kybern.machinery.errors import ApiError, BadRequest, Details, MethodNotAllowed, NotFound, Unauthorized
from kybern.machinery.selectors import parse_fields, parse_labels
from kybern.metrics import answers
from kybern.metrics.answers import GROUP, VERSION, Raw
from kybern.metrics.names import PodNames
from kybern.metrics.scrape import Scraper

_ROOT = f"/apis/{GROUP}/{VERSION}"
_TABLE = re.compile(r"as=Table;(?:v=(\w+);g=meta\.k8s\.io|g=meta\.k8s\.io;v=(\w+))")


def front_proxies(names: Iterable[str]) -> health.Guard:
    """A guard that lets in who has a certificate of one of these names; any name when there are none.

    The server trusts the front proxies' authority and no other, so a certificate that is there is one of its own.
    """
    allowed = frozenset(names)

    async def guard(request: web.Request) -> web.Response | None:
        transport = request.transport
        found = transport.get_extra_info("peercert") if transport is not None else None
        parts = [pair for group in (found or {}).get("subject", ()) for pair in group]
        name = next((value for key, value in parts if key == "commonName"), "")
        if found and (not allowed or name in allowed):
            return None
        problem = Unauthorized("ask the API server for metrics: only it is answered here")
        return web.json_response(problem.status(), status=problem.code)

    return guard


class Metrics:
    """``cache`` knows the labels of nodes and pods, ``scraper`` what they use."""

    def __init__(self, cache: Cache, scraper: Scraper) -> None:
        self._cache = cache
        self._scraper = scraper

    def routes(self, app: web.Application) -> None:
        for path, document in (
            ("/apis", answers.GROUPS),
            (f"/apis/{GROUP}", answers.API_GROUP),
            (_ROOT, answers.RESOURCES),
        ):
            app.router.add_get(path, _always(document))
        for path, answer in (
            ("/nodes", self._nodes),
            ("/nodes/{name}", self._node),
            ("/pods", self._pods),
            ("/namespaces/{namespace}/pods", self._pods),
            ("/namespaces/{namespace}/pods/{name}", self._pod),
        ):
            app.router.add_route("*", _ROOT + path, _answering(answer))

    def _nodes(self, request: web.Request) -> tuple[str, list[Raw]]:
        chosen = _chosen(request)
        found = [
            answers.node(one.metadata.name, one.metadata.labels, use)
            for one in self._cache.list(Node)
            if chosen(one) and (use := self._scraper.node(one.metadata.name)) is not None
        ]
        return "NodeMetrics", sorted(found, key=_order)

    def _node(self, request: web.Request) -> Raw:
        name = request.match_info["name"]
        one, use = self._cache.get(Node, "", name), self._scraper.node(name)
        if one is None:
            raise _absent("", "nodes", name)
        if use is None:
            raise _absent(GROUP, "nodemetrics", name)
        return answers.node(name, one.metadata.labels, use)

    def _pods(self, request: web.Request) -> tuple[str, list[Raw]]:
        namespace, chosen, uses = (
            request.match_info.get("namespace", ""),
            _chosen(request),
            self._scraper.pods(),
        )
        found = [
            answers.pod(one.metadata.namespace, one.metadata.name, one.metadata.labels, used)
            for one in self._cache.list(PodNames, namespace)
            if chosen(one) and (used := uses.get((one.metadata.namespace, one.metadata.name)))
        ]
        return "PodMetrics", sorted(found, key=_order)

    def _pod(self, request: web.Request) -> Raw:
        namespace, name = request.match_info["namespace"], request.match_info["name"]
        one, used = self._cache.get(PodNames, namespace, name), self._scraper.pods().get((namespace, name))
        if one is None:
            raise _absent("", "pods", name)
        if not used:
            raise _absent(GROUP, "podmetrics", f"{namespace}/{name}")
        return answers.pod(namespace, name, one.metadata.labels, used)


def _order(item: Raw) -> tuple[str, str]:
    return item["metadata"].get("namespace", ""), item["metadata"]["name"]


def _absent(group: str, plural: str, name: str) -> NotFound:
    shown = f"{plural}.{group}" if group else plural
    return NotFound(f'{shown} "{name}" not found', Details(name=name, group=group, kind=plural))


def _chosen(request: web.Request) -> Callable[[Any], bool]:
    """By the selectors of the request. Raises BadRequest."""
    labels = parse_labels(request.query.get("labelSelector", ""))
    fields = parse_fields(request.query.get("fieldSelector", ""))
    for one in fields.requirements:
        if one.key not in ("metadata.name", "metadata.namespace"):
            text = f'"{one.key}" is not a known field selector: only "metadata.name", "metadata.namespace"'
            raise BadRequest(text)

    def chosen(one: Any) -> bool:
        meta = one.metadata
        named = {"metadata.name": meta.name, "metadata.namespace": meta.namespace}
        return labels.matches(meta.labels) and fields.matches(named.__getitem__)

    return chosen


def _always(document: Raw) -> Callable[[web.Request], Any]:
    async def answer(_request: web.Request) -> web.Response:
        return web.json_response(document)

    return answer


def _answering(found: Callable[[web.Request], Raw | tuple[str, list[Raw]]]) -> Callable[[web.Request], Any]:
    async def answer(request: web.Request) -> web.Response:
        try:
            if request.method not in ("GET", "HEAD") or request.query.get("watch") in ("1", "true"):
                raise MethodNotAllowed("metrics are read only, one by one or as a list")
            document = found(request)
        except ApiError as problem:
            return web.json_response(problem.status(), status=problem.code)
        return web.json_response(_formed(document, request.headers.get("Accept", "")))

    return answer


def _formed(document: Raw | tuple[str, list[Raw]], accept: str) -> Raw:
    asked = _TABLE.search(accept.partition(",")[0])
    items = document[1] if isinstance(document, tuple) else [document]
    if asked is not None:
        return answers.table(items, asked[1] or asked[2])
    return answers.listed(*document) if isinstance(document, tuple) else document
