"""Watches as answers that go on: from a stream of frames to a client's connection, until one of them ends."""

import asyncio
import contextlib
from collections.abc import Callable

from aiohttp import web

from kybern.apiserver import messages, metrics, options
from kybern.apiserver.audit.begun import begun
from kybern.apiserver.chunks import Chunks, Turn, binary, text
from kybern.apiserver.engine import Call
from kybern.apiserver.generic import watch
from kybern.apiserver.negotiate import Form


async def _opened(request: web.BaseRequest, form: Form) -> web.StreamResponse:
    headers = {"Content-Type": form.stream, "Cache-Control": "no-cache, private"}
    response = web.StreamResponse(headers=headers | dict(request.get("flow", ())))
    await response.prepare(request)
    return response


async def _until_gone(socket: web.WebSocketResponse, stream: watch.Stream) -> None:
    async for _message in socket:
        pass
    stream.end()


class Watching:
    """All watches that are on their way."""

    def __init__(self) -> None:
        self._transports: dict[watch.Stream, asyncio.Transport] = {}
        self._turn = Turn()

    async def answer(
        self, request: web.BaseRequest, call: Call, form: Form, ready: Callable[[], None]
    ) -> web.StreamResponse:
        """Lasts as long as the watch; ``ready`` is called once it has begun."""
        stream, frames = await watch.begin(call, form, call.query.get("includeObject", ""))
        spoken = messages.wanted(request)
        gauge = metrics.longrunning("WATCH", call)
        gauge.inc()
        try:
            begun(request, 101 if spoken else 200)
            response = await (messages.opened(request) if spoken else _opened(request, form))
            ready()
            lasts = watch.seconds(options.list_options(call.kind, {**call.query, "watch": "1"}))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(lasts):
                    if isinstance(response, web.WebSocketResponse):
                        await self._told(response, request, stream, (frames, form))
                    else:
                        await self._stream(request, response, stream, frames)
            if isinstance(response, web.WebSocketResponse):
                await response.close()
        finally:
            stream.end()
            self._transports.pop(stream, None)
            gauge.dec()
        return response

    async def _stream(
        self,
        request: web.BaseRequest,
        response: web.StreamResponse,
        stream: watch.Stream,
        frames: list[bytes],
    ) -> None:
        transport = request.transport
        if transport is None:
            return
        for part in watch.joined(frames):
            await response.write(part)
        await self._flow(transport, stream, Chunks(transport, self._turn))

    async def _told(
        self,
        socket: web.WebSocketResponse,
        request: web.BaseRequest,
        stream: watch.Stream,
        first: tuple[list[bytes], Form],
    ) -> None:
        """The same as messages, one for each event; what the client says is nothing but that it goes."""
        transport = request.transport
        if transport is None:
            return
        frames, form = first
        chunks = Chunks(transport, self._turn, text if "json" in form.stream else binary)
        for frame in frames:
            chunks.write(frame)
        heard = asyncio.create_task(_until_gone(socket, stream))
        try:
            await self._flow(transport, stream, chunks)
        finally:
            heard.cancel()
            await asyncio.gather(heard, return_exceptions=True)

    async def _flow(self, transport: asyncio.Transport, stream: watch.Stream, chunks: Chunks) -> None:
        stream.write = chunks.write
        stream.unsent = transport.get_write_buffer_size
        self._transports[stream] = transport
        stream.flow()
        try:
            await stream.closed
        except asyncio.CancelledError:
            # Its time is over: the client is told up to where it has seen everything.
            stream.mark()
            raise
        finally:
            chunks.flush()

    async def tend(self) -> None:
        """Once a second: drop streams whose client is gone; once a minute tell the others how far they are."""
        count = 0
        while True:
            await asyncio.sleep(1)
            count += 1
            for stream, transport in tuple(self._transports.items()):
                if transport.is_closing():
                    stream.end()
            if count % 60 == 50:
                for cache in {stream.cache for stream in self._transports if stream.bookmarks}:
                    cache.request_progress()
            if count % 60 == 0:
                for stream in tuple(self._transports):
                    stream.mark()

    def end(self) -> None:
        for stream in tuple(self._transports):
            stream.end()
