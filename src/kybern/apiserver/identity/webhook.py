"""Tokens as a webhook reviews them: a TokenReview is posted, and its status says whose the token is, and for whom.

Audiences: those that are wanted go with the review. What comes back names the ones that the token is good for; a webhook
that knows of none says nothing of them, and its tokens are good for this server's own (upstream:
``apiserver/plugin/pkg/authenticator/token/webhook``).
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kybern.apiserver.identity.remembered import Known, Remembered
from kybern.auth.tokens import InvalidToken
from kybern.auth.user import User
from kybern.client.kubeconfig import BadConfig, load
from kybern.client.posting import Posting, Unanswered
from kybern.daemon.flags import Values
from kybern.daemon.run import Fatal
from kybern.machinery.kind import Raw

log = logging.getLogger(__name__)

VERSIONS = ("v1", "v1beta1")
_GROUP = "authentication.k8s.io"


@dataclass(slots=True)
class TokenWebhook:
    """One webhook. ``own``: the audiences of this server."""

    posting: Posting
    version: str
    own: tuple[str, ...]

    async def ask(self, token: str, audiences: tuple[str, ...]) -> Known | None:
        """Whose the token is; None when the webhook does not know. Raises InvalidToken."""
        review = question(token, audiences, self.version)
        try:
            found = await self.posting.post(review)
        except Unanswered as problem:
            log.warning("Failed to make webhook authenticator request: %s", problem)
            raise InvalidToken(str(problem)) from problem
        return answer(found.get("status") or {}, audiences, self.own)


def question(token: str, audiences: tuple[str, ...], version: str) -> Raw:
    """The review that asks about a token."""
    spec: Raw = {"token": token}
    if audiences:
        spec["audiences"] = list(audiences)
    return {"kind": "TokenReview", "apiVersion": f"{_GROUP}/{version}", "metadata": {}, "spec": spec}


def answer(status: Raw, wanted: tuple[str, ...], own: tuple[str, ...]) -> Known | None:
    """What a status comes to. Pure. Raises InvalidToken."""
    given = _texts(status.get("audiences")) or own
    audiences = tuple(one for one in wanted if one in given)
    if wanted and not audiences:
        return None
    if status.get("authenticated") is not True:
        if error := status.get("error"):
            raise InvalidToken(str(error))
        return None
    user: Any = status.get("user") or {}
    if not isinstance(user, Mapping):
        raise InvalidToken("the user of the review is no object")
    extra: Any = user.get("extra") or {}
    if not isinstance(extra, Mapping):
        raise InvalidToken("the user's extra of the review is no object")
    return (
        User(
            str(user.get("username") or ""),
            _texts(user.get("groups")),
            str(user.get("uid") or ""),
            {str(key): _texts(values) for key, values in extra.items()},
        ),
        audiences,
    )


def _texts(found: Any) -> tuple[str, ...]:
    """Strings of a list. Raises InvalidToken for what is none."""
    if found is None:
        return ()
    if not isinstance(found, list) or not all(isinstance(one, str) for one in found):
        raise InvalidToken("the review has something else where a list of strings should be")
    return tuple(found)


def webhook(values: Values, own: tuple[str, ...]) -> tuple[Posting, Remembered] | None:
    """What the flags say; None without a file. Raises Fatal."""
    path = values["authentication-token-webhook-config-file"]
    if not path:
        return None
    version = values["authentication-token-webhook-version"]
    if version not in VERSIONS:
        raise Fatal(
            f'kube-apiserver: unsupported authentication webhook version "{version}", '
            'supported versions are "v1", "v1beta1"'
        )
    try:
        posting = Posting(load(path))
    except BadConfig as problem:
        raise Fatal(
            f"kube-apiserver: cannot use --authentication-token-webhook-config-file: {problem}"
        ) from problem
    asked = TokenWebhook(posting, version, own)
    return posting, Remembered(asked.ask, values["authentication-token-webhook-cache-ttl"])
