"""Who may read a daemon's pages by a bearer token: the API server says whose it is, and whether he may.

Upstream calls it delegated authentication and authorization. Answers are believed for a short while, so that a scraper
costs little.
"""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from kybern.api.authentication_v1 import TokenReview, TokenReviewSpec
from kybern.api.authorization_v1 import (
    NonResourceAttributes,
    SubjectAccessReview,
    SubjectAccessReviewSpec,
)
from kybern.client.verbs import Verbs
from kybern.machinery.errors import ApiError

log = logging.getLogger(__name__)

REMEMBERED = 10.0
MOST = 1000


@dataclass(slots=True)
class Readers:
    """``may`` gives the HTTP status for a token and a path: 200, 401 (nobody's), 403, or 500 when the API says nothing."""

    client: Verbs
    clock: Callable[[], float] = time.monotonic
    _known: dict[tuple[str, str], tuple[int, float]] = field(default_factory=dict)

    async def may(self, token: str, path: str) -> int:
        now = self.clock()
        known = self._known.get((token, path))
        if known is not None and now < known[1]:
            return known[0]
        try:
            found = await self._asked(token, path)
        except ApiError as problem:
            log.warning("cannot ask whether somebody may read %s: %s", path, problem)
            return 500
        if len(self._known) >= MOST:
            self._known.clear()
        self._known[token, path] = found, now + REMEMBERED
        return found

    async def _asked(self, token: str, path: str) -> int:
        whose = (await self.client.create(TokenReview(spec=TokenReviewSpec(token=token)))).status
        if not whose.authenticated or whose.user is None:
            return 401
        spec = SubjectAccessReviewSpec(
            user=whose.user.username,
            groups=whose.user.groups,
            uid=whose.user.uid,
            extra=whose.user.extra,
            non_resource_attributes=NonResourceAttributes(path=path, verb="get"),
        )
        review = await self.client.create(SubjectAccessReview(spec=spec))
        return 200 if review.status.allowed else 403
