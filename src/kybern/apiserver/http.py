"""Requests in, answers out: the one place where HTTP and the API meet, and where an ApiError becomes a Status.

The order of questions is upstream's: who asks, how many ask already, whether they may, and only then whether there is
such a thing. The way of a plain read is short on purpose: no middlewares, one route table, bytes handed through.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial

from aiohttp import web

from kybern.apiserver import asking, binary, compress, deadline, metrics, negotiate, options, problems, verbs
from kybern.apiserver.aggregation.registered import prefix
from kybern.apiserver.aggregation.remote import Remote
from kybern.apiserver.answer import Answer, One, Plain
from kybern.apiserver.audit.trail import Untold
from kybern.apiserver.authentication import NOBODY, Authenticator
from kybern.apiserver.authorization import Authorization
from kybern.apiserver.connection import Connection, Whole
from kybern.apiserver.crowded import BODY, HEADERS, Crowded
from kybern.apiserver.engine import Call, Engine
from kybern.apiserver.limits import Gate, Place
from kybern.apiserver.negotiate import Form
from kybern.apiserver.paths import Asked, Paths
from kybern.apiserver.render import Renderer, plain
from kybern.apiserver.route import Target
from kybern.apiserver.watching import Watching
from kybern.auth.attributes import Attributes, Decision
from kybern.auth.unsettled import settled
from kybern.auth.user import User
from kybern.machinery.errors import (
    ApiError,
    Details,
    InternalError,
    ServiceUnavailable,
    TooManyRequests,
    Unauthorized,
)
from kybern.storage.cache import Stale
from kybern.storage.encryption.kms import ServiceFailed
from kybern.storage.store import Full, Unavailable
from kybern.storage.value import Unreadable

log = logging.getLogger(__name__)

_DEPRECATED = {
    ("", "componentstatuses"): "v1 ComponentStatus is deprecated in v1.19+",
    ("", "endpoints"): "v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice",
}
_UNCACHED = ("Cache-Control", "no-cache, private")
_USUAL = (("Content-Type", negotiate.JSON), _UNCACHED)

type Streaming = Callable[[Call, web.BaseRequest, Target], Awaitable[web.StreamResponse]]


type Hand = Callable[[web.BaseRequest, Remote, User], Awaitable[web.StreamResponse]]


async def _nobody(_request: web.BaseRequest, _remote: Remote, _user: User) -> web.StreamResponse:
    raise problems.no_such_resource()


def _nothing() -> None:
    return


class Server:
    """Answers requests; ``handle`` is aiohttp's handler."""

    def __init__(
        self,
        engine: Engine,
        authenticator: Authenticator,
        authorization: Authorization,
        paths: Paths,
        gate: Gate,
    ) -> None:
        self.engine = engine
        self.authenticator = authenticator
        self.authorization = authorization
        self.paths = paths
        self.gate = gate
        # Reads and writes that are on their way.
        self.inflight = [0, 0]
        metrics.count_inflight(self.inflight)
        self.watching = Watching()
        self.streaming: dict[str, Streaming] = {}
        # Group versions, by path, that others answer for, and who hands requests to them.
        self.remotes: Mapping[str, Remote] = {}
        self.hand: Hand = _nobody
        # Seconds that a request may take which does not last.
        self.request_timeout = deadline.LONGEST
        # Who tells of requests, if anybody does.
        self.trail = Untold()
        self._compressor = compress.Compressor()

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse | Whole:
        started = time.perf_counter()
        path = asking.path_of(request)
        target: Target | None = None
        resource = path.startswith(("/api/", "/apis/"))
        query: Mapping[str, str] = request.query if request.query_string else {}
        response: web.StreamResponse | Whole
        try:
            if resource:
                target = self.engine.table.target(request.method, path, watching=options.flag(query, "watch"))
            response = await self._answered(request, path, query, target)
        except ApiError as problem:
            response = self._refused(request, problem)
        except Exception as problem:
            response = self._failed(request, problem)
        if isinstance(response, Whole) and (flow := request.get("flow")):
            response.headers = (*response.headers, *flow)
        self.trail.complete(request, response.status)
        metrics.observe(
            asking.labels(request, target, query),
            response.status,
            time.perf_counter() - started,
            asking.size(request, target, response),
        )
        return response

    async def _answered(
        self, request: web.BaseRequest, path: str, query: Mapping[str, str], target: Target | None
    ) -> web.StreamResponse | Whole:
        asked = await self._asked(request, path, query, target)
        remote = self.remotes.get(prefix(path)) if self.remotes else None
        if remote is not None or (target is not None and target.verb == "watch"):
            return await self._handed(request, asked, query, target, remote)
        lasting = target is not None and target.subresource in self.streaming
        limit = asyncio.timeout(None if lasting else deadline.seconds(query, self.request_timeout))
        writing = request.method not in ("GET", "HEAD")
        place = None if lasting else self._place(request, asked, query)
        if place is not None:
            self.inflight[writing] += 1
        try:
            async with limit:
                if place is not None and place.turn is not None:
                    await place.wait(self.gate.patience)
                await self._check_asking(request, asked) if self.authorization.asks else self._check(
                    request, asked
                )
                if target is None or asking.nowhere(self.engine.table, target):
                    return await self._page(request, path, query)
                return await self._resource(request, target, asked.user, query)
        except TimeoutError:
            if limit.expired():
                raise deadline.exceeded() from None
            raise
        finally:
            if place is not None:
                self.inflight[writing] -= 1
                place.leave()

    async def _handed(
        self,
        request: web.BaseRequest,
        asked: Attributes,
        query: Mapping[str, str],
        target: Target | None,
        remote: Remote | None,
    ) -> web.StreamResponse:
        """What another server answers, and watches: these have a place until they have begun."""
        place = None if "Upgrade" in request.headers else self._place(request, asked, query)
        try:
            if place is not None:
                await place.wait(self.gate.patience)
            await self._check_asking(request, asked) if self.authorization.asks else self._check(
                request, asked
            )
            watching = target is not None and target.verb == "watch"
            begun = place.leave if place is not None and watching else _nothing
            if remote is not None:
                begun()
                return await self.hand(request, remote, asked.user)
            assert target is not None
            return await self._watch(request, target, asked.user, query, begun)
        finally:
            if place is not None:
                place.leave()

    def _place(self, request: web.BaseRequest, asked: Attributes, query: Mapping[str, str]) -> Place:
        try:
            place = self.gate.take(asked, query)
        except Crowded as problem:
            request["flow"] = problem.headers
            raise
        if place.headers:
            request["flow"] = place.headers
        return place

    async def _asked(
        self, request: web.BaseRequest, path: str, query: Mapping[str, str], target: Target | None
    ) -> Attributes:
        """Who asks, or as whom he acts, and for what."""
        try:
            user = await self._user(request, path)
        except Unauthorized as problem:
            nobody = asking.attributes(NOBODY, request.method, path, query, target)
            self.trail.unknown(request, nobody, problem)
            raise
        asked = asking.attributes(user, request.method, path, query, target)
        self.trail.begin(request, asked)
        if user.warnings:
            request["warnings"] = list(user.warnings)
        if self.authorization.asks:
            asked = await settled(partial(self.authorization.acting, asked, request.headers))
        else:
            asked = self.authorization.acting(asked, request.headers)
        if user.warnings:
            # They are for whoever sends the request, as whom ever he acts.
            asked = asked._replace(user=replace(asked.user, warnings=user.warnings))
        return asked

    def _check(self, request: web.BaseRequest, asked: Attributes) -> None:
        """Raises Forbidden unless the request is allowed."""
        self._demand(request, asked, self.authorization.allow(asked))

    async def _check_asking(self, request: web.BaseRequest, asked: Attributes) -> None:
        """The same where others may have to be asked first."""
        self._demand(request, asked, await settled(partial(self.authorization.allow, asked)))

    def _demand(self, request: web.BaseRequest, asked: Attributes, decision: Decision) -> None:
        self.trail.judged(request, asked, decision)
        self.authorization.demand(asked, decision)

    async def _user(self, request: web.BaseRequest, path: str) -> User:
        protocol = request.protocol
        peer = protocol.peer if isinstance(protocol, Connection) else None
        return await self.authenticator.user_of(
            peer, request.headers.get("Authorization"), request.headers, path
        )

    async def _page(self, request: web.BaseRequest, path: str, query: Mapping[str, str]) -> Whole:
        found = await self.paths.answer(
            Asked(request.method, path, query, request.headers.get("Accept", ""), request.headers)
        )
        if found.code == 200 and request.method not in ("GET", "HEAD") and path != "/apis":
            raise problems.not_allowed()
        return self._response(
            request,
            found.body,
            found.content_type,
            found.code,
            [*found.headers.items(), *_warned(request.get("warnings", ()))],
        )

    async def _resource(
        self, request: web.BaseRequest, target: Target, user: User, query: Mapping[str, str]
    ) -> web.StreamResponse | Whole:
        call = self._call(target, user, query)
        call.agent = request.headers.get("User-Agent", "")
        self.trail.about(request, call)
        if user.warnings:
            call.warnings[:0] = user.warnings
        if request.method == "HEAD" and target.subresource != "proxy":
            raise problems.not_allowed()
        try:
            if target.subresource in self.streaming:
                return await self.streaming[target.subresource](call, request, target)
            verb = verbs.verb_of(call, target.verb)
            form = _form(request, call, streams=target.verb == "list", shapes="get" in call.kind.verbs)
            if negotiate.indented(query, call.agent):
                form = replace(form, pretty=True)
            answer = await verb(call, self.trail.sent(request))
            self.trail.answered(request, answer)
            if form is negotiate.PLAIN and isinstance(answer, One) and not query and not call.warnings:
                return self._response(request, answer.body, negotiate.JSON, answer.code)
            return await self._rendered(request, call, answer, form)
        except Exception:
            request["warnings"] = call.warnings  # a refusal tells them, too
            raise

    def _call(self, target: Target, user: User, query: Mapping[str, str]) -> Call:
        if target.kind is None:
            raise problems.no_such_resource()
        namespace = target.namespace if target.kind.namespaced else ""
        deprecated = target.kind.deprecated or _DEPRECATED.get((target.group, target.plural))
        warnings = []
        if deprecated:
            warnings.append(deprecated)
            metrics.deprecated(target.group, target.version, target.plural, target.subresource)
        return Call(
            self.engine,
            target.kind,
            user,
            namespace,
            target.name,
            target.subresource,
            query,
            warnings=warnings,
        )

    async def _rendered(self, request: web.BaseRequest, call: Call, answer: Answer, form: Form) -> Whole:
        if form is negotiate.PLAIN:
            body, content_type = plain(answer), negotiate.JSON
        elif form.media == negotiate.PROTOBUF and not form.shape:
            body, content_type = await binary.body(call, answer), form.media
        else:
            renderer = Renderer(form, self.engine.clock(), call.query.get("includeObject", ""))
            body, content_type = renderer.body(answer)
        code = getattr(answer, "code", 200)
        return self._response(request, body, content_type, code, _warned(call.warnings))

    def _response(
        self,
        request: web.BaseRequest,
        body: bytes,
        content_type: str,
        code: int,
        headers: Sequence[tuple[str, str]] = (),
    ) -> Whole:
        small = len(body) <= compress.FROM
        if small and not headers and content_type == negotiate.JSON:
            return Whole(code, _USUAL, body)
        fields = [("Content-Type", content_type), *headers]
        if not any(name == "Cache-Control" for name, _ in headers):
            fields.append(_UNCACHED)
        if not small and "gzip" in request.headers.get("Accept-Encoding", ""):
            body = self._compressor.compressed(body)
            fields += [("Content-Encoding", "gzip"), ("Vary", "Accept-Encoding")]
        return Whole(code, fields, body)

    def _refused(self, request: web.BaseRequest, problem: ApiError) -> Whole:
        if isinstance(problem, Crowded):
            reading = request.method in ("GET", "HEAD")
            metrics.rejected.labels("readOnly" if reading else "mutating").inc()
            self.trail.refused(request, problem.status())
            return Whole(problem.code, HEADERS, BODY)
        try:
            form = negotiate.negotiate(request.headers.get("Accept", ""), shapes=False)
        except ApiError:
            accept = request.headers.get("Accept", "")
            form = Form(negotiate.YAML) if "yaml" in accept else negotiate.PLAIN
        status = problem.status()
        self.trail.refused(request, status)
        people = negotiate.indented(request.query, request.headers.get("User-Agent", ""))
        body, content_type = Renderer(Form(form.media, pretty=people), 0.0).body(Plain(status))
        headers = _warned(request.get("warnings", ()))
        # Clients ask again by themselves when they are told this: a refused eviction must not tell it.
        if seconds := problem.details.retry_after_seconds if problem.details else 0:
            headers.append(("Retry-After", str(seconds)))
        return self._response(
            request, b"" if request.method == "HEAD" else body, content_type, problem.code, headers
        )

    def _failed(self, request: web.BaseRequest, problem: Exception) -> Whole:
        if isinstance(problem, Full | Unreadable):
            return self._refused(request, InternalError(str(problem)))
        if isinstance(problem, ServiceFailed):
            return self._refused(request, InternalError.of(str(problem)))
        if isinstance(problem, Unavailable):
            return self._refused(request, ServiceUnavailable(str(problem)))
        if isinstance(problem, Stale):
            # As upstream; clients ask again after a second by themselves.
            return self._refused(
                request, TooManyRequests("storage is (re)initializing", Details(retry_after_seconds=1))
            )
        if isinstance(problem, ConnectionResetError):
            log.info("%s %s ended: who asked has gone", request.method, request.path)
        else:
            log.error("%s %s failed", request.method, request.path, exc_info=problem)
        return self._refused(request, InternalError(f"Internal error occurred: {type(problem).__name__}"))

    async def _watch(
        self,
        request: web.BaseRequest,
        target: Target,
        user: User,
        query: Mapping[str, str],
        begun: Callable[[], None],
    ) -> web.StreamResponse:
        call = self._call(target, user, query)
        if "watch" not in call.kind.verbs:
            raise problems.not_allowed()
        form = _form(request, call, streams=True)
        if form.media == negotiate.YAML:
            raise negotiate.unknown_form(negotiate.STREAMS)
        return await self.watching.answer(request, call, form, begun)


def _form(request: web.BaseRequest, call: Call, *, streams: bool, shapes: bool = True) -> Form:
    accept = request.headers.get("Accept", "")
    if call.kind.custom and call.subresource != "scale":
        return negotiate.for_custom(accept)
    return negotiate.negotiate(accept, streams=streams, shapes=shapes)


def _warned(texts: Iterable[str]) -> list[tuple[str, str]]:
    return [("Warning", f'299 - "{_escaped(text)}"') for text in texts]


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", " ").replace("\r", " ")
