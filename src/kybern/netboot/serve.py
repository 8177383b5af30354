"""The server that machines ask while they boot, by plain HTTP: their firmware speaks nothing else.

So nothing that it gives away is a secret, and it believes a machine only what it may: how far it is, and its host key when
the installation that this server has started ends (docs/adr/0037). Addresses that are not listed get nothing.

Configuration, orders and what was seen are read anew at each question, so that a changed file needs no restart. One question
at a time touches what was seen: no handler waits between reading and writing it.
"""

import logging
import secrets
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from aiohttp import web

from kybern.daemon.files import replace_file
from kybern.netboot import decide, disks, scripts, seen
from kybern.netboot.seen import Seen
from kybern.netboot.wanted import Served, Wanted, read

log = logging.getLogger(__name__)
MOST = 1 << 20
"""Bytes of one message: a machine may have many disks."""
SEEN, ORDERS = "seen.json", "orders"


class Netboot:
    """The answers. ``folder`` has netboot.json, orders/, settings/NAME.tar and files/; ``state`` is its own to write.

    Orders and what was seen go by the UUIDs of machines' roots: another cluster of this server may have the same names.
    """

    def __init__(self, folder: Path, state: Path) -> None:
        self._folder, self._state = folder, state
        self._strangers: set[str] = set()
        self.served()  # a configuration that cannot be read is told at the start

    def routes(self, app: web.Application) -> None:
        app.router.add_get(f"/{scripts.FIRST}", self._first)
        app.router.add_get("/files/{name}", self._file)
        app.router.add_get("/machines/{mac}/boot", self._boot)
        app.router.add_get("/machines/{mac}/settings.tar", self._settings)
        for what, answer in (
            ("disks", self._disks),
            ("step", self._step),
            ("failed", self._failed),
            ("done", self._done),
        ):
            app.router.add_post(f"/machines/{{mac}}/{what}", self._from_ours(answer))

    def served(self) -> Served:
        """Raises ValueError and OSError."""
        return read((self._folder / "netboot.json").read_text())

    def order(self, machine: Wanted) -> str:
        """The operator's last order to install a machine anew; empty for none."""
        try:
            return (self._folder / ORDERS / machine.partition).read_text().strip()
        except FileNotFoundError:
            return ""

    def seen(self) -> dict[str, Seen]:
        try:
            return seen.read((self._state / SEEN).read_text())
        except FileNotFoundError:
            return {}
        except ValueError as problem:
            # What a disk bears is what counts: without this file a machine is not installed twice.
            log.warning("%s; it begins anew", problem)
            return {}

    def _known(self, machine: Wanted) -> Seen:
        return self.seen().get(machine.partition, Seen())

    def _see(self, machine: Wanted, now: Seen) -> None:
        was = self._known(machine)
        if (was.phase, was.said) != (now.phase, now.said):
            log.info("%s: %s: %s", machine.name, now.phase, now.said)
        known = {**self.seen(), machine.partition: now}
        replace_file(self._state / SEEN, seen.written(known).encode(), 0o644, durable=True)

    def _of(self, request: web.Request) -> Wanted:
        mac = request.match_info["mac"][:17]
        machine = self.served().machine(mac)
        if machine is None:
            if mac not in self._strangers and len(self._strangers) < MOST >> 10:
                self._strangers.add(mac)
                log.warning(
                    "a machine that the topology does not list asks: %s at %s", mac.encode(), request.remote
                )
            raise web.HTTPNotFound(text="this machine is not listed\n")
        return machine

    async def _first(self, _request: web.Request) -> web.Response:
        return web.Response(text=scripts.first(self.served().url))

    async def _file(self, request: web.Request) -> web.FileResponse:
        name = request.match_info["name"]
        if name not in (scripts.KERNEL, scripts.INITRD, scripts.IMAGE):
            raise web.HTTPNotFound(text="there is no such file\n")
        return web.FileResponse(self._folder / "files" / name)

    async def _boot(self, request: web.Request) -> web.Response:
        machine = self._of(request)
        was = self._known(machine)
        if decide.from_disk(installed=was.installed, done=was.order, ordered=self.order(machine)):
            self._see(machine, seen.from_disk(was, time.time()))
            return web.Response(text=scripts.local(machine))
        # A second question must not take the ticket from an installation that is under way.
        ticket = was.ticket or secrets.token_hex(16)
        self._see(machine, seen.booting(was, ticket, time.time()))
        return web.Response(text=scripts.install(self.served(), machine, ticket))

    async def _settings(self, request: web.Request) -> web.FileResponse:
        return web.FileResponse(self._folder / "settings" / f"{self._of(request).name}.tar")

    def _from_ours(
        self, answer: Callable[[Wanted, Seen, str], str]
    ) -> Callable[[web.Request], Awaitable[web.Response]]:
        """Only what this server has started is believed."""

        async def answered(request: web.Request) -> web.Response:
            machine = self._of(request)
            text = (await request.read()).decode(errors="replace")
            was = self._known(machine)
            given = request.headers.get("Ticket", "").encode()
            if not was.ticket or not secrets.compare_digest(given, was.ticket.encode()):
                raise web.HTTPForbidden(text="this server has not started that installation\n")
            try:
                return web.Response(text=answer(machine, was, text))
            except ValueError as problem:
                raise web.HTTPBadRequest(text=f"{problem}\n") from problem

        return answered

    def _disks(self, machine: Wanted, was: Seen, text: str) -> str:
        decision = decide.decide(machine, disks.parse(text), order=self.order(machine), done=was.order)
        phase, words = seen.INSTALLING, "begins"
        if isinstance(decision, decide.Wait):
            phase, words = seen.REFUSED, decision.why
        self._see(machine, seen.said(was, phase, words, time.time()))
        served = self.served()
        return decide.line(decision, machine.partition, f"{served.url}/files/{scripts.IMAGE}", served.sha256)

    def _step(self, machine: Wanted, was: Seen, text: str) -> str:
        self._see(machine, seen.said(was, seen.INSTALLING, text, time.time()))
        return "ok\n"

    def _failed(self, machine: Wanted, was: Seen, text: str) -> str:
        self._see(machine, seen.said(was, seen.FAILED, text, time.time()))
        return "ok\n"

    def _done(self, machine: Wanted, was: Seen, text: str) -> str:
        key = seen.public_key(text)
        self._see(machine, seen.installed(was, key, self.order(machine), time.time()))
        return "ok\n"


def application(netboot: Netboot) -> web.Application:
    app = web.Application(client_max_size=MOST)
    netboot.routes(app)
    return app
