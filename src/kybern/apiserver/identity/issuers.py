"""The issuers that flags or a file name, exchanged while the server runs when the file changes.

A file that cannot be used leaves the issuers before it in force, and so does one whose new issuers cannot be found within
``PATIENCE`` seconds. An issuer that a new file has unchanged goes on with the keys it has. What the file says of requests
by nobody follows it, too.
"""

import asyncio
import logging
from collections.abc import Sequence

from kybern.apiserver.authentication import Authenticator
from kybern.apiserver.config_file import Invalid
from kybern.apiserver.identity import flags, metrics
from kybern.apiserver.identity.configuration import AnonymousSetting, File, issuer_of, parse
from kybern.apiserver.identity.issuer import JWTAuthenticator
from kybern.apiserver.identity.remembered import Known
from kybern.apiserver.reloads import EVERY, Followed, Reloads, Retired, said
from kybern.auth.oidc import token as tokens
from kybern.auth.oidc.keys import ALGORITHMS
from kybern.daemon.flags import Values
from kybern.daemon.run import Fatal

log = logging.getLogger(__name__)

RELOADS = Reloads("authentication")
PATIENCE = 60.0


class Issuers:
    """``own``: audiences of this server; ``disallowed``: issuers of its own tokens. Raises Fatal."""

    def __init__(self, values: Values, own: tuple[str, ...], disallowed: Sequence[str]) -> None:
        self._own, self._disallowed = own, tuple(disallowed)
        self._by_flag = bool(values["anonymous-auth"])
        self._path = flags.checked(values)
        self._file: Followed | None = None
        self._retired = Retired()
        try:
            file, algorithms = self._first(values)
            self._current = tuple(JWTAuthenticator(issuer_of(one, algorithms)) for one in file.jwt)
        except (OSError, Invalid) as problem:
            where = f"--{flags.CONFIG} {self._path}" if self._path else "--oidc-* flags"
            raise Fatal(f"kube-apiserver: cannot use {where}: {said(problem)}") from problem
        if file.anonymous is not None and values.given("anonymous-auth"):
            raise Fatal(
                "kube-apiserver: --anonymous-auth flag cannot be set when anonymous field is configured in "
                "authentication configuration file"
            )
        self._anonymous = file.anonymous

    def _first(self, values: Values) -> tuple[File, Sequence[str]]:
        if self._path is None:
            return flags.by_flags(values, self._disallowed)
        self._file = Followed(self._path)
        file = parse(self._file.content, self._disallowed)
        RELOADS.uses(self._file.content)
        return file, ALGORITHMS

    def __bool__(self) -> bool:
        """Whether there are issuers, or may be some day."""
        return bool(self._current) or self._path is not None

    async def start(self, authenticator: Authenticator, tasks: asyncio.TaskGroup) -> None:
        self._admit(authenticator, self._anonymous)
        for one in self._current:
            await one.start()
        if self._file is not None:
            tasks.create_task(self._follow(authenticator, self._file), name="authentication configuration")

    def _admit(self, authenticator: Authenticator, anonymous: AnonymousSetting | None) -> None:
        """Who may come as nobody: as the file says, else as the flag does."""
        found = anonymous or AnonymousSetting(enabled=self._by_flag)
        authenticator.anonymous = found.enabled
        authenticator.anonymous_paths = frozenset(one.path for one in found.conditions)

    async def ask(self, token: str, audiences: tuple[str, ...]) -> Known | None:
        """Whose a token is, if it is of one of the issuers. Raises InvalidToken.

        Its own audiences are the issuer's matter; to others it is a token for this server.
        """
        if not self._current or (parsed := tokens.parse(token)) is None:
            return None
        wanted = tuple(one for one in audiences if one in self._own)
        for one in self._current:
            if wanted and one.issuer.url == parsed.issuer:
                return await one.authenticate(parsed), wanted
        return None

    async def _follow(self, authenticator: Authenticator, file: Followed) -> None:
        while True:
            await asyncio.sleep(EVERY)
            await self._look(authenticator, file)
            await self._retired.tend()

    async def _look(self, authenticator: Authenticator, followed: Followed) -> None:
        """Take over what the file says, if it has changed."""
        try:
            if not followed.changed():
                return
            file = parse(followed.content, self._disallowed)
            made = await self._found(file)
        except (OSError, Invalid) as problem:
            log.warning(
                "cannot use %s: %s; the issuers before it stay in force", followed.path, said(problem)
            )
            RELOADS.counted("failure")
            return
        before, self._current = self._current, made
        self._admit(authenticator, file.anonymous)
        for one in before:
            if one not in made:
                self._retired.add(one.close)
        for url in {one.issuer.url for one in before} - {one.issuer.url for one in made}:
            metrics.KEY_SETS.forget(url)
        RELOADS.uses(followed.content)
        RELOADS.counted("success")
        log.info("Reloaded the authentication configuration %s", followed.path)

    async def _found(self, file: File) -> tuple[JWTAuthenticator, ...]:
        """The issuers of a file, all of them found. Raises Invalid."""
        known = {one.issuer.setting: one for one in self._current}
        made = tuple(known.get(one) or JWTAuthenticator(issuer_of(one)) for one in file.jwt)
        new = [one for one in made if one not in self._current]
        for one in new:
            await one.start()
        try:
            async with asyncio.timeout(PATIENCE):
                for one in new:
                    await one.ready.wait()
        except TimeoutError as problem:
            for one in new:
                await one.close()
            waits = next(one for one in new if not one.ready.is_set())
            raise Invalid(
                f'oidc: authenticator for issuer "{waits.issuer.url}" is not healthy: {waits.problem}'
            ) from problem
        return made

    async def close(self) -> None:
        for one in self._current:
            await one.close()
        await self._retired.close()
