"""The authorizers that flags or a file name, put to work, and exchanged while the server runs when the file changes.

A file that cannot be used leaves the authorizers before it in force. What needs a part of the server that is made at its
start (Node, RBAC) can be in a later file only when it was in the first one, and must stay there (upstream's rule).
"""

import asyncio
import logging
from collections.abc import Collection, Sequence
from pathlib import Path

from kybern.apiserver.authorization import Authorization, Authorizer
from kybern.apiserver.config_file import Invalid
from kybern.apiserver.reloads import EVERY, Followed, Reloads, Retired, said
from kybern.apiserver.rights import flags
from kybern.apiserver.rights.configuration import WEBHOOK, Wanted, parse
from kybern.apiserver.rights.webhook import WebhookAuthorizer, webhook_authorizer
from kybern.daemon.flags import Values
from kybern.daemon.run import Fatal

log = logging.getLogger(__name__)

RELOADS = Reloads("authorization")


class Authorizers:
    """Raises Fatal for flags and files that cannot be used."""

    def __init__(self, values: Values) -> None:
        flags.check_together(values)
        path = values[flags.CONFIG]
        self._file: Followed | None = None
        self._webhooks: list[WebhookAuthorizer] = []
        self._retired = Retired()
        try:
            wanted = self._first(Path(path)) if path else flags.by_flags(values)
            self.first = self._made(wanted)
        except (OSError, Invalid) as problem:
            where = f"--{flags.CONFIG} {path}" if path else "the authorization webhook"
            raise Fatal(f"kube-apiserver: cannot use {where}: {said(problem)}") from problem
        self._attributes = flags.attributes(values, wanted=any(one.type == "ABAC" for one in wanted))
        self._needed = {one.type for one in wanted} - {WEBHOOK}

    def _first(self, path: Path) -> tuple[Wanted, ...]:
        self._file = Followed(path)
        found = parse(self._file.content)
        RELOADS.uses(self._file.content)
        return found

    def _made(self, wanted: Sequence[Wanted]) -> tuple[Authorizer, ...]:
        webhooks = [webhook_authorizer(one) for one in wanted if one.type == WEBHOOK]
        by_name = {one.name: one for one in webhooks}
        self._webhooks = webhooks
        return tuple(
            Authorizer(one.type, one.name, by_name[one.name].authorize if one.type == WEBHOOK else None)
            for one in wanted
        )

    def authorization(self, gates: Collection[str]) -> Authorization:
        """The chain with the authorizers that the server starts with."""
        found = Authorization(gates=gates, attributes=self._attributes)
        found.use(self.first)
        return found

    async def start(self, authorization: Authorization, tasks: asyncio.TaskGroup) -> None:
        for one in self._webhooks:
            await one.posting.start()
        if self._file is not None:
            tasks.create_task(self._follow(authorization, self._file), name="authorization configuration")

    async def _follow(self, authorization: Authorization, file: Followed) -> None:
        while True:
            await asyncio.sleep(EVERY)
            await self._look(authorization, file)
            await self._retired.tend()

    async def _look(self, authorization: Authorization, file: Followed) -> None:
        """Take over what the file says, if it has changed."""
        before = self._webhooks
        try:
            if not file.changed():
                return
            made = self._new(file.content)
        except (OSError, Invalid) as problem:
            log.warning(
                "cannot use %s: %s; the authorizers before it stay in force", file.path, said(problem)
            )
            RELOADS.counted("failure")
            return
        for one in self._webhooks:
            await one.posting.start()
        authorization.use(made)
        for one in before:
            self._retired.add(one.posting.close)
        RELOADS.uses(file.content)
        RELOADS.counted("success")
        log.info("Reloaded the authorization configuration %s", file.path)

    def _new(self, content: bytes) -> tuple[Authorizer, ...]:
        """The authorizers of a file that has changed. Raises Invalid and OSError."""
        wanted = parse(content, self._needed)
        if strange := sorted({one.type for one in wanted} & {"ABAC", "Node", "RBAC"} - self._needed):
            raise Invalid(
                f"authorizer type {strange[0]} is not allowed if it was not enabled at initial server startup"
            )
        return self._made(wanted)

    async def close(self) -> None:
        for one in self._webhooks:
            await one.posting.close()
        await self._retired.close()
