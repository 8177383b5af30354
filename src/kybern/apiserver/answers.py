"""Kinds and subresources that are answered by others than the generic verbs: reviews, tokens, component states."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace

from kybern.apiserver import body, options
from kybern.apiserver.answer import Answer, Many, One, Plain
from kybern.apiserver.engine import Call
from kybern.apiserver.generic import admit, current, owners
from kybern.apiserver.generic.list import converted
from kybern.apiserver.neighbours import Unwell
from kybern.apiserver.reviews import Reviews
from kybern.apiserver.token_request import DEFAULT, Issuer
from kybern.apiserver.verbs import Sent, Verb
from kybern.machinery.errors import Details, NotFound
from kybern.machinery.kind import Kind, Raw

TOKEN = Kind(
    "authentication.k8s.io",
    "v1",
    "TokenRequest",
    "serviceaccounts",
    namespaced=True,
    schema="io.k8s.api.authentication.v1.TokenRequest",
)
_SECONDS = 5.0
type Check = Callable[[], Awaitable[None]]


def review(reviews: Reviews) -> Verb:
    async def create(call: Call, sent: Sent) -> Answer:
        call.options = options.write_options(call.query, "CreateOptions")
        raw = body.decode(call, await sent.read(), sent.content_type)
        owners.record_new(call, raw)
        asked = admit.request(call, "CREATE", raw, None)
        await admit.mutate(call, asked)
        await admit.validate(call, asked)
        group, plural = call.kind.group, call.kind.plural
        found, warnings = await reviews.create(group, plural, call.namespace, raw, call.user)
        for text in warnings:
            call.warn(text)
        return Plain(found, 201)

    return create


def token(issuer: Issuer) -> Verb:
    async def create(call: Call, sent: Sent) -> Answer:
        call.options = options.write_options(call.query, "CreateOptions")
        raw = body.decode(call, await sent.read(), sent.content_type, TOKEN, TOKEN.schema)
        if raw["spec"].get("expirationSeconds") is None:
            raw["spec"]["expirationSeconds"] = DEFAULT
        owners.record_new(replace(call, kind=TOKEN, subresource="token"), raw)

        async def admitted(request: Raw) -> None:
            asked = admit.request(call, "CREATE", request, None)
            await admit.mutate(call, asked)
            await admit.validate(call, asked)

        return Plain(await issuer.create(call.namespace, call.name, raw, admitted), 201)

    return create


class Components:
    """ComponentStatus: asked when read."""

    def __init__(self, checks: Mapping[str, Check]) -> None:
        self._checks = checks

    async def _state(self, name: str) -> Raw:
        try:
            async with asyncio.timeout(_SECONDS):
                await self._checks[name]()
            condition = {"type": "Healthy", "status": "True", "message": "ok"}
        except Unwell as problem:
            condition = {"type": "Healthy", "status": "False", "message": str(problem)}
        except Exception as problem:  # a check says what is wrong by raising, whatever it is
            text = str(problem) or type(problem).__name__
            condition = {"type": "Healthy", "status": "False", "message": text, "error": text}
        return {"metadata": {"name": name}, "conditions": [condition]}

    async def get(self, call: Call, _sent: Sent) -> Answer:
        if call.name not in self._checks:
            text = f'componentstatus "{call.name}" not found'
            raise NotFound(text, Details(name=call.name, kind="componentstatus"))
        return One(call.kind, current.whole(call.engine.form(call.kind), await self._state(call.name)))

    async def list(self, call: Call, _sent: Sent) -> Answer:
        states = await asyncio.gather(*(self._state(name) for name in self._checks))
        return Many(call.kind, [converted(call, state) for state in states], 0)
